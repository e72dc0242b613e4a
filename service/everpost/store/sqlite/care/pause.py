"""The port's noun `pause` in SQLite."""

from collections.abc import Collection, Sequence

import msgspec

from everpost.store.pause import KEY, Pause
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.model import TaskRecord


class SqlitePauses:
    """See `everpost.store.pause.Pauses`. A row whose `sending` is 0 is held; the cursor is its row number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self) -> Pause | None:
        """See `Pauses`."""
        return await self._database.read(find_pause)

    async def count_held(self) -> int:
        """See `Pauses`."""
        row = await self._database.read(lambda connection: connection.execute(load("count_held")).fetchone())
        return int(row[0])

    async def held_page(self, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """See `Pauses`."""
        parameters = {"after": int(cursor or 0), "limit": limit + 1}
        rows = await self._database.read(
            lambda connection: connection.execute(load("held_page"), parameters).fetchall()
        )
        following = str(rows[limit - 1][0]) if len(rows) > limit else None
        return [task_id for _, task_id in rows[:limit]], following

    async def let_go(self, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
        """See `Pauses`."""
        await self._database.write(lambda connection: _let_go(connection, ended, released))

    async def end(self) -> None:
        """See `Pauses`."""
        await self._database.write(lambda connection: connection.execute(load("forget_meta"), {"key": KEY}))


def find_pause(connection: sqlite3.Connection) -> Pause | None:
    """See `Pauses.find`."""
    row = connection.execute(load("get_meta"), {"key": KEY}).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Pause)


def _let_go(connection: sqlite3.Connection, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
    asked = {"task_ids": json_list([record.task_id for record in ended])}
    held = {task_id for (task_id,) in connection.execute(load("held_among"), asked)}
    end_tasks(connection, [record for record in ended if record.task_id in held])
    connection.execute(load("release_held"), {"task_ids": json_list(released)})
