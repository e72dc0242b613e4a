"""The port's `changes` on SQLite; each kind of change has a module of its own."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from everpost.pace import Pace
from everpost.store.changes import DATA_ORDER, Cancel, Candidate, Change, Outcome, Remove, Resolve, Retry, StoredData
from everpost.store.positions import candidates_of
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.cancel import cancel_tasks
from everpost.store.sqlite.tasks.payloads import find_payloads
from everpost.store.sqlite.tasks.positions import find_chains, find_rows
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

    async def apply(self, change: Change, now_ms: int, pace: Pace | None = None) -> list[Outcome]:
        """See the port."""
        return await self._database.write(applying(change, now_ms, pace), within_s=MOVED_WITHIN_S)


def _find_candidates(connection: sqlite3.Connection, *, task_ids: Sequence[str], whole: bool) -> list[Candidate]:
    """See `Changes.find`: each task's place, its retry chain and its data, as of one moment."""
    with snapshot(connection):
        found = {row.position.task_id: (row.position, row.size_bytes) for row in find_rows(connection, task_ids)}
        if not whole:
            return candidates_of(task_ids, found)
        chains = find_chains(connection, [position for position, _ in found.values()])
        return candidates_of(task_ids, found, chains, _find_data(connection, found))


def _find_data(connection: sqlite3.Connection, task_ids: Collection[str]) -> dict[str, StoredData]:
    data: dict[str, StoredData] = {}
    for place in DATA_ORDER:
        left = [task_id for task_id in task_ids if task_id not in data]
        if left:
            data |= find_payloads(connection, place, left)
    return data


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
