"""The port's operations on PostgreSQL, tables `operations`, `operation_skips` and `operation_tasks`."""

from collections.abc import Sequence

import msgspec

from everpost.clock import to_text
from everpost.pace import Pace
from everpost.store.batches import NEWEST
from everpost.store.changes import Change, Outcome, undecided_among
from everpost.store.operation_rows import claim_row, done_rows, operation_of, skip_rows, step_row, without_ids
from everpost.store.operations import Operation, OperationLostError, UndoneError
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import json_text, plain_text, storable
from everpost.store.postgresql.tasks.changes import apply_change
from everpost.task.model import MOVED_WITHIN_S


class PostgresqlOperations:
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

        async def advance(connection: Connection) -> tuple[Operation, list[Outcome]]:
            outcomes = list(decided)
            if change is not None:
                outcomes += await apply_change(connection, change, now_ms, pace)
            if undecided_among(outcomes):
                return operation, outcomes
            if is_new:
                begun = await connection.fetch_one("begin_operation", **msgspec.structs.asdict(operation))
                if begun is None:
                    raise UndoneError(operation.undoes)
            if change is None:
                return operation, outcomes
            return await _advance(connection, operation, outcomes, following, now_ms), outcomes

        return await self._database.write(advance, within_s=MOVED_WITHIN_S)

    async def fail(self, operation: Operation, error: str, now_ms: int) -> None:
        """See the port."""
        await self._database.write(
            lambda connection: connection.run(
                "fail_operation",
                operation_id=operation.operation_id,
                owner=operation.owner,
                error=plain_text(error),
                now=to_text(now_ms),
                request=without_ids(operation.request),
            )
        )

    async def find(
        self, operation_id: str, after: str = "", limit: int = 1_000
    ) -> tuple[Operation, list[Outcome]] | None:
        """See the port."""
        parameters = {"operation_id": storable(operation_id)}

        async def find(connection: Connection) -> tuple[Operation, list[Outcome]] | None:
            row = await connection.fetch_one("find_operation", **parameters)
            if row is None:
                return None
            skips = await connection.fetch_all("find_skips", **parameters, after=storable(after), limit=limit)
            return operation_of(row), [Outcome(**skip) for skip in skips]

        return await self._database.read(find)

    async def find_undo(self, operation_id: str) -> str | None:
        """See the port."""
        row = await self._database.read(
            lambda connection: connection.fetch_one("find_undo", operation_id=storable(operation_id))
        )
        return None if row is None else str(row["operation_id"])

    async def page_done(self, operation_id: str, after: str, limit: int) -> list[str]:
        """See the port."""
        given = {"operation_id": storable(operation_id), "after": storable(after), "limit": limit}
        rows = await self._database.read(lambda connection: connection.fetch_all("page_done", **given))
        return [row["task_id"] for row in rows]

    async def page(self, before: str | None = None, limit: int = 50) -> list[Operation]:
        """See the port."""
        given = {"before": NEWEST if before is None else storable(before), "limit": limit}
        rows = await self._database.read(lambda connection: connection.fetch_all("page_operations", **given))
        return [operation_of(row) for row in rows]

    async def claim_abandoned(self, owner: str, before_ms: int, now_ms: int) -> Operation | None:
        """See the port."""
        row = await self._database.write(
            lambda connection: connection.fetch_one("claim_operation", **claim_row(owner, before_ms, now_ms))
        )
        return None if row is None else operation_of(row)

    async def release(self, owner: str) -> None:
        """See the port."""
        await self._database.write(lambda connection: connection.run("release_operations", owner=owner))


async def _advance(
    connection: Connection,
    operation: Operation,
    outcomes: Sequence[Outcome],
    following: str | None,
    now_ms: int,
) -> Operation:
    row = await connection.fetch_one("advance_operation", **step_row(operation, outcomes, following, now_ms))
    if row is None:
        raise OperationLostError(operation.operation_id)
    skips = skip_rows(operation, outcomes)
    if skips:
        await connection.run("keep_skips", rows=json_text(skips))
    done = done_rows(operation, outcomes)
    if done:
        await connection.run("keep_done", rows=json_text(done))
    return operation_of(row)
