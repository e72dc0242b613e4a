"""The port's `changes` on SQLite; each kind of change has a module of its own."""

from collections.abc import Sequence
from functools import partial

from everpost.store.changes import Cancel, Candidate, Change, Outcome, Remove, Resolve, Retry
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.cancel import cancel_tasks
from everpost.store.sqlite.tasks.candidates import count_payloads_fitting, find_candidates
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
        return await self._database.read(partial(find_candidates, task_ids=task_ids, whole=whole))

    async def count_fitting(self, task_ids: Sequence[str], most_bytes: int) -> int:
        """See the port."""
        return await self._database.read(partial(count_payloads_fitting, task_ids=task_ids, most_bytes=most_bytes))

    async def apply(self, change: Change, now_ms: int) -> list[Outcome]:
        """See the port."""
        return await self._database.write(
            lambda connection: apply_change(connection, change, now_ms), within_s=MOVED_WITHIN_S
        )


def apply_change(connection: sqlite3.Connection, change: Change, now_ms: int) -> list[Outcome]:
    """Carry out a change, inside the caller's transaction."""
    match change:
        case Retry():
            return retry_tasks(connection, change, now_ms)
        case Cancel():
            return cancel_tasks(connection, change, now_ms)
        case Remove():
            return remove_tasks(connection, change, now_ms)
        case Resolve():
            return resolve_task(connection, change)
