"""The port's recurring posts on SQLite, table `recurring_posts`."""

from collections.abc import Sequence
from typing import Any

from everpost.clock import to_text
from everpost.errors import RecurrenceExists
from everpost.store.ledger import TaskExistsError
from everpost.store.recurring import changed_row, recurrence_of, recurrence_row
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import accept_tasks
from everpost.store.sqlite.tasks.duplicates import keep_guards
from everpost.task.duplicate_rules import Guard
from everpost.task.model import Task
from everpost.task.recurrence import Recurrence


class SqliteRecurring:
    """See `everpost.store.recurring.Recurring`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, recurrence: Recurrence) -> None:
        """See the port."""
        row = recurrence_row(recurrence)
        try:
            await self._database.write(lambda connection: connection.execute(load("add_recurring"), row))
        except sqlite3.IntegrityError as error:
            raise RecurrenceExists(recurrence.name) from error

    async def find(self, key: str) -> Recurrence | None:
        """See the port."""
        found = await self._select("find_recurring", {"key": key})
        return found[0] if found else None

    async def page(self, after: str, limit: int) -> list[Recurrence]:
        """See the port."""
        return await self._select("page_recurring", {"after": after, "limit": limit})

    async def due(self, before_ms: int, limit: int) -> list[Recurrence]:
        """See the port."""
        return await self._select("due_recurring", {"before": to_text(before_ms), "limit": limit})

    async def change(
        self, before: Recurrence, after: Recurrence, task: Task | None, now_ms: int, guard: Guard | None = None
    ) -> bool:
        """See the port."""
        row = changed_row(before, after)
        tasks: Sequence[Task] = () if task is None else (task,)

        def change(connection: sqlite3.Connection) -> bool:
            if not connection.execute(load("change_recurring"), row).fetchall():
                return False
            accept_tasks(connection, tasks, now_ms)
            if guard is not None:
                keep_guards(connection, {task.task_id: guard for task in tasks})
            return True

        try:
            return await self._database.write(change)
        except sqlite3.IntegrityError as error:
            if "recurring_posts" in str(error):
                raise RecurrenceExists(after.name) from error
            raise TaskExistsError(str(error)) from error

    async def remove(self, recurrence_id: str) -> bool:
        """See the port."""
        parameters = {"recurrence_id": recurrence_id}
        removed = await self._database.write(
            lambda connection: connection.execute(load("remove_recurring"), parameters).fetchall()
        )
        return bool(removed)

    async def _select(self, statement: str, parameters: dict[str, Any]) -> list[Recurrence]:
        def select(connection: sqlite3.Connection) -> list[Recurrence]:
            cursor = connection.execute(load(statement), parameters)
            names = [column[0] for column in cursor.description]
            return [recurrence_of(dict(zip(names, row, strict=True))) for row in cursor]

        return await self._database.read(select)
