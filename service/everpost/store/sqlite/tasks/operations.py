"""The port's operations on SQLite, tables `operations`, `operation_skips` and `operation_tasks`."""

from collections.abc import Sequence
from typing import Any

import msgspec

from everpost.clock import to_text
from everpost.pace import Pace
from everpost.store.batches import NEWEST
from everpost.store.changes import Change, Outcome, undecided_among
from everpost.store.operation_rows import claim_row, done_rows, operation_of, skip_rows, step_row, without_ids
from everpost.store.operations import Operation, OperationLostError, UndoneError
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.changes import applying
from everpost.task.model import MOVED_WITHIN_S


class SqliteOperations:
    """See `everpost.store.operations.Operations`. Every step is compare-and-set on the owner and the position."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def advance(
        self,
        operation: Operation,
        change: Change | None,
        decided: Sequence[Outcome],
        following: str | None,
        now_ms: int,
        *,
        is_new: bool = False,
        pace: Pace | None = None,
    ) -> tuple[Operation, list[Outcome]]:
        """See the port."""

        def advance(connection: sqlite3.Connection) -> tuple[Operation, list[Outcome]]:
            outcomes = list(decided)
            if change is not None:
                outcomes += applying(change, now_ms, pace)(connection)
            if undecided_among(outcomes):
                return operation, outcomes
            if is_new:
                begun = connection.execute(load("begin_operation"), msgspec.structs.asdict(operation)).fetchone()
                if begun is None:
                    raise UndoneError(operation.undoes)
            if change is None:
                return operation, outcomes
            return _advance(connection, operation, outcomes, following, now_ms), outcomes

        return await self._database.write(advance, within_s=MOVED_WITHIN_S)

    async def fail(self, operation: Operation, error: str, now_ms: int) -> None:
        """See the port."""
        parameters = {"operation_id": operation.operation_id, "owner": operation.owner}
        parameters |= {"error": error, "now": to_text(now_ms), "request": without_ids(operation.request)}
        await self._database.write(lambda connection: connection.execute(load("fail_operation"), parameters))

    async def find(
        self, operation_id: str, after: str = "", limit: int = 1_000
    ) -> tuple[Operation, list[Outcome]] | None:
        """See the port."""
        parameters = {"operation_id": operation_id, "after": after, "limit": limit}

        def find(connection: sqlite3.Connection) -> tuple[Operation, list[Outcome]] | None:
            row = connection.execute(load("find_operation"), parameters).fetchone()
            if row is None:
                return None
            skips = connection.execute(load("find_skips"), parameters)
            return _operation(row), [Outcome(task_id=task_id, reason=reason) for task_id, reason in skips]

        return await self._database.read(find)

    async def find_undo(self, operation_id: str) -> str | None:
        """See the port."""
        given = {"operation_id": operation_id}
        row = await self._database.read(lambda connection: connection.execute(load("find_undo"), given).fetchone())
        return None if row is None else str(row[0])

    async def page_done(self, operation_id: str, after: str, limit: int) -> list[str]:
        """See the port."""
        given = {"operation_id": operation_id, "after": after, "limit": limit}
        rows = await self._database.read(lambda connection: connection.execute(load("page_done"), given).fetchall())
        return [task_id for (task_id,) in rows]

    async def page(self, before: str | None = None, limit: int = 50) -> list[Operation]:
        """See the port."""
        given = {"before": NEWEST if before is None else before, "limit": limit}
        rows = await self._database.read(
            lambda connection: connection.execute(load("page_operations"), given).fetchall()
        )
        return [_operation(row) for row in rows]

    async def claim_abandoned(self, owner: str, before_ms: int, now_ms: int) -> Operation | None:
        """See the port."""
        parameters = claim_row(owner, before_ms, now_ms)
        row = await self._database.write(
            lambda connection: connection.execute(load("claim_operation"), parameters).fetchone()
        )
        return None if row is None else _operation(row)

    async def release(self, owner: str) -> None:
        """See the port."""
        await self._database.write(lambda connection: connection.execute(load("release_operations"), {"owner": owner}))


def _advance(
    connection: sqlite3.Connection,
    operation: Operation,
    outcomes: Sequence[Outcome],
    following: str | None,
    now_ms: int,
) -> Operation:
    row = connection.execute(load("advance_operation"), step_row(operation, outcomes, following, now_ms)).fetchone()
    if row is None:
        raise OperationLostError(operation.operation_id)
    connection.executemany(load("keep_skip"), skip_rows(operation, outcomes))
    connection.executemany(load("keep_done"), done_rows(operation, outcomes))
    return _operation(row)


def _operation(row: Sequence[Any]) -> Operation:
    return operation_of(dict(zip(Operation.__struct_fields__, row, strict=True)))
