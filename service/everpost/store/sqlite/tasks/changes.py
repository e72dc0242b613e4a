"""The port's `changes` on SQLite; each kind of change has a module of its own."""

from collections.abc import Callable, Sequence
from functools import partial

from everpost.pace import Pace
from everpost.store.audit import entry_after
from everpost.store.changes import BringBack, Cancel, Change, Edit, Outcome, Remove, Resolve, Retry
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.audit_entries import add_entry
from everpost.store.sqlite.tasks.bring_back import bring_back
from everpost.store.sqlite.tasks.cancel import cancel_tasks
from everpost.store.sqlite.tasks.candidates import find_candidates
from everpost.store.sqlite.tasks.edit import edit_tasks
from everpost.store.sqlite.tasks.remove import remove_tasks
from everpost.store.sqlite.tasks.resolve import resolve_tasks
from everpost.store.sqlite.tasks.retry import retry_tasks
from everpost.task.candidate import Candidate
from everpost.task.model import MOVED_WITHIN_S


class SqliteChanges:
    """See `everpost.store.changes.Changes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
        """See the port."""
        return await self._database.read(partial(_find, task_ids=task_ids, whole=whole))

    async def apply(self, change: Change, now_ms: int, pace: Pace | None = None) -> list[Outcome]:
        """See the port."""
        return await self._database.write(applying(change, now_ms, pace), within_s=MOVED_WITHIN_S)


def _find(connection: sqlite3.Connection, *, task_ids: Sequence[str], whole: bool) -> list[Candidate]:
    with snapshot(connection):
        return find_candidates(connection, task_ids, whole=whole)


def applying(change: Change, now_ms: int, pace: Pace | None) -> Callable[[sqlite3.Connection], list[Outcome]]:
    """Carries out a change, inside the caller's transaction, and lets the pace measure it."""
    apply = partial(_apply_and_keep, change=change, now_ms=now_ms)
    return apply if pace is None else pace.timed(apply)


def _apply_and_keep(connection: sqlite3.Connection, *, change: Change, now_ms: int) -> list[Outcome]:
    outcomes = _apply(connection, change=change, now_ms=now_ms)
    if change.entry is not None and (entry := entry_after(change.entry, outcomes)) is not None:
        add_entry(connection, entry)
    return outcomes


def _apply(connection: sqlite3.Connection, *, change: Change, now_ms: int) -> list[Outcome]:
    match change:
        case Retry():
            return retry_tasks(connection, change, now_ms)
        case Cancel():
            return cancel_tasks(connection, change, now_ms)
        case Edit():
            return edit_tasks(connection, change, now_ms)
        case Remove():
            return remove_tasks(connection, change, now_ms)
        case BringBack():
            return bring_back(connection, change)
        case Resolve():
            return resolve_tasks(connection, change)
