"""The facts an action needs before it changes tasks: each task's place, its retry chain, and its data."""

from collections.abc import Collection, Sequence

from everpost.portions import count_fitting
from everpost.store.changes import DATA_ORDER, Candidate, StoredData
from everpost.store.sqlite.file.snapshot import snapshot
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.payloads import find_payloads
from everpost.store.sqlite.tasks.positions import find_chains, find_positions, json_list, relatives_of


def find_candidates(connection: sqlite3.Connection, *, task_ids: Sequence[str], whole: bool) -> list[Candidate]:
    """See `everpost.store.changes.Changes.find`."""
    with snapshot(connection):
        positions = find_positions(connection, task_ids)
        if not whole:
            return [Candidate(task_id=task_id, position=positions.get(task_id)) for task_id in task_ids]
        chains = find_chains(connection, positions.values())
        data = _find_data(connection, positions)
    return [
        Candidate(
            task_id=task_id,
            position=positions.get(task_id),
            relatives=relatives_of(positions[task_id], chains) if task_id in positions else (),
            data=data.get(task_id),
        )
        for task_id in task_ids
    ]


def _find_data(connection: sqlite3.Connection, task_ids: Collection[str]) -> dict[str, StoredData]:
    data: dict[str, StoredData] = {}
    for place in DATA_ORDER:
        left = [task_id for task_id in task_ids if task_id not in data]
        if left:
            data |= find_payloads(connection, place, left)
    return data


def count_payloads_fitting(connection: sqlite3.Connection, *, task_ids: Sequence[str], most_bytes: int) -> int:
    """See `everpost.store.changes.Changes.count_fitting`."""
    sizes = connection.execute(load("payload_sizes"), {"task_ids": json_list(task_ids)})
    try:
        return count_fitting((size_bytes for (size_bytes,) in sizes), most_bytes)
    finally:
        sizes.close()
