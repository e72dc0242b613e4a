"""What bulk work needs to know of many tasks at once: where each lies, its retry chain, and its data."""

from collections.abc import Sequence

import msgspec

from service.retry_rules import Place, Position
from service.store.database import Database
from service.store.payloads import StoredPayload, payload_of_row
from service.store.queries import load
from service.store.resubmission import find_position, find_relatives
from service.store.snapshot import snapshot
from service.store.sqlite import sqlite3

_PAYLOADS = {
    Place.LEDGER: "find_payload_ledger",
    Place.HISTORY: "find_payload_history",
    Place.ARCHIVE: "find_payload_archive",
}


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


def _find_all(connection: sqlite3.Connection, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
    with snapshot(connection):
        return [_find(connection, task_id, whole=whole) for task_id in task_ids]


def _find(connection: sqlite3.Connection, task_id: str, *, whole: bool) -> Candidate:
    position = find_position(connection, task_id)
    if position is None or not whole:
        return Candidate(task_id=task_id, position=position)
    row = connection.execute(load(_PAYLOADS[position.place]), {"task_id": task_id}).fetchone()
    return Candidate(
        task_id=task_id,
        position=position,
        relatives=find_relatives(connection, position),
        payload=None if row is None else payload_of_row(row),
    )
