"""Tasks that a caller wants changed: where each is, its retry chain and its data."""

from collections.abc import Collection, Sequence
from functools import partial

from everpost.store.changes import DATA_ORDER
from everpost.store.payloads import data_of_row
from everpost.store.positions import candidates_of, chain_ids_of
from everpost.store.sqlite.file.connection import read
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.positions import find_chains, find_rows, json_list
from everpost.task.candidate import Candidate, StoredData
from everpost.task.place import Place, Position


def find_candidates(
    connection: sqlite3.Connection, task_ids: Sequence[str], *, whole: bool = True, most_bytes: int | None = None
) -> list[Candidate]:
    """See `everpost.store.changes.Changes.find`. Data of more than `most_bytes` is left out."""
    rows = find_rows(connection, task_ids)
    found = {row.position.task_id: (row.position, row.size_bytes) for row in rows}
    if not whole:
        return candidates_of(task_ids, found)
    chains = find_chains(connection, chain_ids_of(task_ids, found))
    small = [row.position for row in rows if most_bytes is None or row.size_bytes <= most_bytes]
    # As a read, because a text of an inherited row may be no UTF-8.
    return candidates_of(task_ids, found, chains, read(connection, partial(_find_data, positions=small)))


def _find_data(connection: sqlite3.Connection, positions: Sequence[Position]) -> dict[str, StoredData]:
    """The data of rows, from the first usable one of each task."""
    data: dict[str, StoredData] = {}
    for place in DATA_ORDER:
        left = {position.task_id for position in positions if position.place is place} - data.keys()
        if left:
            data |= _find_payloads(connection, place, left)
    return data


def _find_payloads(connection: sqlite3.Connection, place: Place, task_ids: Collection[str]) -> dict[str, StoredData]:
    """The data that a table has for tasks. Tasks without a platform in their data and columns are left out."""
    rows = connection.execute(load(f"find_payloads_{place}"), {"task_ids": json_list(task_ids)})
    found = {task_id: data_of_row(place, row) for task_id, *row in rows}
    return {task_id: data for task_id, data in found.items() if data is not None}
