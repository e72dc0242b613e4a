"""The port's noun `held` in SQLite."""

from collections.abc import Collection, Sequence

from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.model import TaskRecord


class SqliteHeld:
    """See `everpost.store.held.Held`. A row whose `sending` is 0 is held; the cursor is its row number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self) -> int:
        """See `Held`."""
        row = await self._database.read(lambda connection: connection.execute(load("count_held")).fetchone())
        return int(row[0])

    async def page(self, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """See `Held`."""
        parameters = {"after": int(cursor or 0), "limit": limit + 1}
        rows = await self._database.read(
            lambda connection: connection.execute(load("page_held"), parameters).fetchall()
        )
        following = str(rows[limit - 1][0]) if len(rows) > limit else None
        return [task_id for _, task_id in rows[:limit]], following

    async def let_go(self, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
        """See `Held`."""
        await self._database.write(lambda connection: _let_go(connection, ended, released))


def _let_go(connection: sqlite3.Connection, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
    asked = {"task_ids": json_list([record.task_id for record in ended])}
    held = {task_id for (task_id,) in connection.execute(load("held_among"), asked)}
    end_tasks(connection, [record for record in ended if record.task_id in held])
    connection.execute(load("release_held"), {"task_ids": json_list(released)})
