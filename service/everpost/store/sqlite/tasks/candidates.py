"""What bulk work needs to know of many tasks at once: where each lies, its retry chain, and its data."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.snapshot import snapshot
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.payloads import StoredPayload, find_payloads
from everpost.store.sqlite.tasks.positions import Chains, find_chains, find_positions, json_list, relatives_of
from everpost.task.place import Place, Position


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One task somebody wants something done to.

    Attributes:
        position: None if no table has it.
        relatives: The other tasks of its retry chain.
        payload: Read for retries only; None if neither the data nor the columns say where to publish.
    """

    task_id: str
    position: Position | None = None
    relatives: Sequence[Position] = ()
    payload: StoredPayload | None = None


class Candidates:
    """Looks many tasks up in one go."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
        """The tasks, in order, all as they stood at one moment; `whole` adds the chain and the data of each."""
        return await self._database.read(lambda connection: _find_all(connection, task_ids, whole=whole))

    async def count_fitting(self, task_ids: Sequence[str], most_bytes: int) -> int:
        """How many of the tasks, from the first on, have no more than `most_bytes` of data together; at least one."""
        return await self._database.read(lambda connection: _count_fitting(connection, task_ids, most_bytes))


def _find_all(connection: sqlite3.Connection, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
    with snapshot(connection):
        positions = find_positions(connection, task_ids)
        if not whole:
            return [Candidate(task_id=task_id, position=positions.get(task_id)) for task_id in task_ids]
        chains = find_chains(connection, positions.values())
        payloads = _find_payloads(connection, positions.values())
    return [_whole(task_id, positions.get(task_id), chains, payloads) for task_id in task_ids]


def _count_fitting(connection: sqlite3.Connection, task_ids: Sequence[str], most_bytes: int) -> int:
    sizes = connection.execute(load("payload_sizes"), {"task_ids": json_list(task_ids)})
    total_bytes = 0
    try:
        for number, (size_bytes,) in enumerate(sizes):
            total_bytes += size_bytes
            if number and total_bytes > most_bytes:
                return number
    finally:
        sizes.close()
    return len(task_ids)


def _find_payloads(connection: sqlite3.Connection, positions: Iterable[Position]) -> dict[str, StoredPayload]:
    lying: dict[Place, list[str]] = {}
    for position in positions:
        lying.setdefault(position.place, []).append(position.task_id)
    found: dict[str, StoredPayload] = {}
    for place, task_ids in lying.items():
        found |= find_payloads(connection, place, task_ids)
    return found


def _whole(task_id: str, position: Position | None, chains: Chains, payloads: Mapping[str, StoredPayload]) -> Candidate:
    return Candidate(
        task_id=task_id,
        position=position,
        relatives=() if position is None else relatives_of(position, chains),
        payload=payloads.get(task_id),
    )
