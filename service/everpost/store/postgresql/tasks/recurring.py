"""The port's recurring posts on PostgreSQL, table `recurring_posts`."""

from typing import Any

from everpost.clock import to_text
from everpost.errors import RecurrenceExists
from everpost.store.ledger import TaskExistsError
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.faults import StatementRefused
from everpost.store.postgresql.link.texts import storable
from everpost.store.postgresql.media.uses import use_files
from everpost.store.postgresql.tasks.duplicates import keep_guards
from everpost.store.postgresql.tasks.typed_rows import accepted_values
from everpost.store.recurring import changed_row, recurrence_of, recurrence_row
from everpost.task.duplicate_rules import Guard
from everpost.task.model import Task
from everpost.task.recurrence import Recurrence


class PostgresqlRecurring:
    """See `everpost.store.recurring.Recurring`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, recurrence: Recurrence) -> None:
        """See the port."""
        row = recurrence_row(recurrence)
        try:
            await self._database.write(lambda connection: connection.run("add_recurring", **row))
        except StatementRefused as error:
            raise RecurrenceExists(recurrence.name) from error

    async def find(self, key: str) -> Recurrence | None:
        """See the port."""
        found = await self._select("find_recurring", key=storable(key))
        return found[0] if found else None

    async def page(self, after: str, limit: int) -> list[Recurrence]:
        """See the port."""
        return await self._select("page_recurring", after=storable(after), limit=limit)

    async def due(self, before_ms: int, limit: int) -> list[Recurrence]:
        """See the port."""
        return await self._select("due_recurring", before=to_text(before_ms), limit=limit)

    async def change(
        self, before: Recurrence, after: Recurrence, task: Task | None, now_ms: int, guard: Guard | None = None
    ) -> bool:
        """See the port."""
        row = changed_row(before, after)
        del row["created_at"]

        async def change(connection: Connection) -> bool:
            try:
                if not await connection.fetch_all("change_recurring", **row):
                    return False
            except StatementRefused as error:
                raise RecurrenceExists(after.name) from error
            if task is not None:
                await connection.write_rows("accept_tasks", accepted_values([task], now_ms))
                await use_files(connection, [task])
                await keep_guards(connection, {} if guard is None else {task.task_id: guard})
            return True

        try:
            return await self._database.write(change)
        except StatementRefused as error:
            raise TaskExistsError(str(error)) from error

    async def remove(self, recurrence_id: str) -> bool:
        """See the port."""
        removed = await self._database.write(
            lambda connection: connection.fetch_all("remove_recurring", recurrence_id=recurrence_id)
        )
        return bool(removed)

    async def _select(self, statement: str, **parameters: Any) -> list[Recurrence]:
        rows = await self._database.read(lambda connection: connection.fetch_all(statement, **parameters))
        return [recurrence_of(row) for row in rows]
