"""The port's `changes` on SQLite; each kind of change has a module of its own."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from everpost.pace import Pace
from everpost.portions import count_fitting
from everpost.store.changes import DATA_ORDER, Cancel, Candidate, Change, Outcome, Remove, Resolve, Retry, StoredData
from everpost.store.positions import relatives_of
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.cancel import cancel_tasks
from everpost.store.sqlite.tasks.payloads import find_payloads
from everpost.store.sqlite.tasks.positions import find_chains, find_positions, json_list
from everpost.store.sqlite.tasks.remove import remove_tasks
from everpost.store.sqlite.tasks.resolve import resolve_task
from everpost.store.sqlite.tasks.retry import retry_tasks
from everpost.task.model import MOVED_WITHIN_S


class SqliteChanges:
    """See `everpost.store.changes.Changes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
        """See the port."""
        return await self._database.read(partial(_find_candidates, task_ids=task_ids, whole=whole))

    async def count_fitting(self, task_ids: Sequence[str], most_bytes: int) -> int:
        """See the port."""
        return await self._database.read(partial(_count_fitting, task_ids=task_ids, most_bytes=most_bytes))

    async def apply(self, change: Change, now_ms: int, pace: Pace | None = None) -> list[Outcome]:
        """See the port."""
        return await self._database.write(applying(change, now_ms, pace), within_s=MOVED_WITHIN_S)


def _find_candidates(connection: sqlite3.Connection, *, task_ids: Sequence[str], whole: bool) -> list[Candidate]:
    """See `Changes.find`: each task's place, its retry chain and its data, as of one moment."""
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


def _count_fitting(connection: sqlite3.Connection, *, task_ids: Sequence[str], most_bytes: int) -> int:
    """See `Changes.count_fitting`."""
    sizes = connection.execute(load("payload_sizes"), {"task_ids": json_list(task_ids)})
    try:
        return count_fitting((size_bytes for (size_bytes,) in sizes), most_bytes)
    finally:
        sizes.close()


def applying(change: Change, now_ms: int, pace: Pace | None) -> Callable[[sqlite3.Connection], list[Outcome]]:
    """Carries out a change, inside the caller's transaction, and lets the pace measure it."""
    apply = partial(_apply, change=change, now_ms=now_ms)
    return apply if pace is None else pace.timed(apply)


def _apply(connection: sqlite3.Connection, *, change: Change, now_ms: int) -> list[Outcome]:
    match change:
        case Retry():
            return retry_tasks(connection, change, now_ms)
        case Cancel():
            return cancel_tasks(connection, change, now_ms)
        case Remove():
            return remove_tasks(connection, change, now_ms)
        case Resolve():
            return resolve_task(connection, change)
