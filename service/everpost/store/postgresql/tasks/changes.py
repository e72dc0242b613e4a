"""The port's `changes` on PostgreSQL. Rules decide on locked rows: see `everpost.store.postgresql.tasks.positions`."""

from collections.abc import Collection, Sequence
from contextlib import nullcontext

from everpost.pace import Pace
from everpost.store.changes import (
    DATA_ORDER,
    Cancel,
    Candidate,
    Change,
    Outcome,
    Remove,
    Resolve,
    Retry,
    StoredData,
    outcome_of_cancel,
)
from everpost.store.payloads import data_of_row
from everpost.store.positions import candidates_of
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.tasks.ends import end_tasks
from everpost.store.postgresql.tasks.positions import find_chains, find_positions, lock_tasks
from everpost.store.postgresql.tasks.remove import remove_tasks
from everpost.store.postgresql.tasks.resolve import resolve_task
from everpost.store.postgresql.tasks.retry import retry_tasks
from everpost.task.cancel_rules import cancelled_record
from everpost.task.model import MOVED_WITHIN_S
from everpost.task.place import Place


class PostgresqlChanges:
    """See `everpost.store.changes.Changes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
        """See the port."""
        if whole:
            return await self._database.snapshot(lambda connection: _find_whole(connection, task_ids))
        found = await self._database.read(lambda connection: find_positions(connection, task_ids))
        return candidates_of(task_ids, found)

    async def apply(self, change: Change, now_ms: int, pace: Pace | None = None) -> list[Outcome]:
        """See the port."""
        return await self._database.write(
            lambda connection: apply_change(connection, change, now_ms, pace), within_s=MOVED_WITHIN_S
        )


async def _find_whole(connection: Connection, task_ids: Sequence[str]) -> list[Candidate]:
    found = await find_positions(connection, task_ids)
    chains = await find_chains(connection, [position for position, _ in found.values()])
    return candidates_of(task_ids, found, chains, await _find_data(connection, found))


async def _find_data(connection: Connection, task_ids: Collection[str]) -> dict[str, StoredData]:
    data: dict[str, StoredData] = {}
    for place in DATA_ORDER:
        left = [task_id for task_id in task_ids if task_id not in data]
        if left:
            data |= await _find_payloads(connection, place, left)
    return data


async def _find_payloads(connection: Connection, place: Place, task_ids: Sequence[str]) -> dict[str, StoredData]:
    found = {}
    for row in await connection.fetch_all(f"find_payloads_{place}", task_ids=task_ids):
        task_id, task_data, *columns = row.values()
        found[task_id] = data_of_row(place, [None if task_data is None else task_data.encode(), *columns])
    return {task_id: data for task_id, data in found.items() if data is not None}


async def apply_change(connection: Connection, change: Change, now_ms: int, pace: Pace | None) -> list[Outcome]:
    """Carry out a change, inside the caller's transaction, and let the pace measure it."""
    with nullcontext() if pace is None else pace.measuring(connection):
        match change:
            case Retry():
                return await retry_tasks(connection, change, now_ms)
            case Cancel():
                return await _cancel_tasks(connection, change, now_ms)
            case Remove():
                return await remove_tasks(connection, change, now_ms)
            case Resolve():
                return await resolve_task(connection, change)


async def _cancel_tasks(connection: Connection, change: Cancel, now_ms: int) -> list[Outcome]:
    positions = (await lock_tasks(connection, change.task_ids)).positions
    outcomes = [outcome_of_cancel(task_id, change.rule(task_id, positions.get(task_id))) for task_id in change.task_ids]
    cancelled = [cancelled_record(outcome.task_id, now_ms) for outcome in outcomes if outcome.reason is None]
    await end_tasks(connection, cancelled)
    return outcomes
