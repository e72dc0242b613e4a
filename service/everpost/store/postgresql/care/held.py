"""The port's noun `held` in PostgreSQL."""

from collections.abc import Collection, Sequence

from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.tasks.ends import end_tasks
from everpost.task.model import TaskRecord


class PostgresqlHeld:
    """See `everpost.store.held.Held`. A row whose `sending` is 0 is held; the cursor is its id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self) -> int:
        """See `Held`."""
        return int(await self._database.read(lambda connection: connection.fetch_value("count_held")))

    async def page(self, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """See `Held`."""
        rows = await self._database.read(
            lambda connection: connection.fetch_all("page_held", after=cursor or "", limit=limit + 1)
        )
        ids = [row["task_id"] for row in rows[:limit]]
        return ids, ids[-1] if len(rows) > limit else None

    async def let_go(self, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
        """See `Held`."""
        await self._database.write(lambda connection: _let_go(connection, ended, released))


async def _let_go(connection: Connection, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
    named = [*(record.task_id for record in ended), *released]
    held = {row["task_id"] for row in await connection.fetch_all("lock_held", task_ids=named)}
    await end_tasks(connection, [record for record in ended if record.task_id in held])
    await connection.run("release_held", task_ids=[task_id for task_id in released if task_id in held])
