"""The port's `changes` on PostgreSQL. Rules decide on locked rows: see `everpost.store.postgresql.tasks.positions`."""

from collections.abc import Awaitable, Sequence
from contextlib import nullcontext

from everpost.pace import Pace
from everpost.store.audit import entry_after
from everpost.store.changes import BringBack, Cancel, Change, Edit, Outcome, Remove, Resolve, Retry, outcome_of_cancel
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.tasks.audit_entries import add_entry
from everpost.store.postgresql.tasks.bring_back import bring_back
from everpost.store.postgresql.tasks.candidates import find_candidates
from everpost.store.postgresql.tasks.edit import edit_tasks
from everpost.store.postgresql.tasks.ends import end_tasks
from everpost.store.postgresql.tasks.positions import lock_tasks
from everpost.store.postgresql.tasks.remove import remove_tasks
from everpost.store.postgresql.tasks.resolve import resolve_tasks
from everpost.store.postgresql.tasks.retry import retry_tasks
from everpost.task.cancel_rules import cancelled_record
from everpost.task.candidate import Candidate
from everpost.task.model import MOVED_WITHIN_S


class PostgresqlChanges:
    """See `everpost.store.changes.Changes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
        """See the port."""
        read = self._database.snapshot if whole else self._database.read  # one statement sees one moment anyway
        return await read(lambda connection: find_candidates(connection, task_ids, whole=whole))

    async def apply(self, change: Change, now_ms: int, pace: Pace | None = None) -> list[Outcome]:
        """See the port."""
        return await self._database.write(
            lambda connection: apply_change(connection, change, now_ms, pace), within_s=MOVED_WITHIN_S
        )


async def apply_change(connection: Connection, change: Change, now_ms: int, pace: Pace | None) -> list[Outcome]:
    """Carry out a change, inside the caller's transaction, and let the pace measure it."""
    with nullcontext() if pace is None else pace.measuring(connection):
        outcomes = await _apply(connection, change, now_ms)
        if change.entry is not None and not isinstance(change, Retry):  # a retry keeps it with its new task
            entry = entry_after(change.entry, outcomes)
            if entry is not None:
                await add_entry(connection, entry)
        return outcomes


def _apply(connection: Connection, change: Change, now_ms: int) -> Awaitable[list[Outcome]]:
    match change:
        case Retry():
            return retry_tasks(connection, change, now_ms)
        case Cancel():
            return _cancel_tasks(connection, change, now_ms)
        case Edit():
            return edit_tasks(connection, change, now_ms)
        case Remove():
            return remove_tasks(connection, change, now_ms)
        case BringBack():
            return bring_back(connection, change)
        case Resolve():
            return resolve_tasks(connection, change)


async def _cancel_tasks(connection: Connection, change: Cancel, now_ms: int) -> list[Outcome]:
    positions = (await lock_tasks(connection, change.task_ids)).positions
    outcomes = [
        outcome_of_cancel(task_id, change.rule(task_id, positions.get(task_id)), positions.get(task_id))
        for task_id in change.task_ids
    ]
    cancelled = [cancelled_record(outcome.task_id, now_ms) for outcome in outcomes if outcome.reason is None]
    await end_tasks(connection, cancelled)
    return outcomes
