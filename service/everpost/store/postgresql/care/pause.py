"""The port's noun `pause` in PostgreSQL."""

from collections.abc import Collection, Sequence

import msgspec

from everpost.store.pause import KEY, Pause
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.tasks.ends import end_tasks
from everpost.task.model import TaskRecord


class PostgresqlPauses:
    """See `everpost.store.pause.Pauses`. A row whose `sending` is 0 is held; the cursor is its id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self) -> Pause | None:
        """See `Pauses`."""
        return await self._database.read(find_pause)

    async def count_held(self) -> int:
        """See `Pauses`."""
        return int(await self._database.read(lambda connection: connection.fetch_value("count_held")))

    async def held_page(self, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """See `Pauses`."""
        rows = await self._database.read(
            lambda connection: connection.fetch_all("held_page", after=cursor or "", limit=limit + 1)
        )
        ids = [row["task_id"] for row in rows[:limit]]
        return ids, ids[-1] if len(rows) > limit else None

    async def let_go(self, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
        """See `Pauses`."""
        await self._database.write(lambda connection: _let_go(connection, ended, released))

    async def end(self) -> None:
        """See `Pauses`."""
        await self._database.write(lambda connection: connection.run("forget_meta", key=KEY))


async def find_pause(connection: Connection) -> Pause | None:
    """See `Pauses.find`."""
    text = await connection.fetch_value("get_meta", key=KEY)
    return None if text is None else msgspec.json.decode(text, type=Pause)


async def _let_go(connection: Connection, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
    named = [*(record.task_id for record in ended), *released]
    held = {row["task_id"] for row in await connection.fetch_all("lock_held", task_ids=named)}
    await end_tasks(connection, [record for record in ended if record.task_id in held])
    await connection.run("release_held", task_ids=[task_id for task_id in released if task_id in held])
