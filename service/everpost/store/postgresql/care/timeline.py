"""The port's timeline on PostgreSQL, table `timeline`."""

from everpost.store.postgresql.care.meta import get_value, set_value
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.timeline import LAST, MINUTE_S, Counts, Slice, added, growth, read_counts, write_counts


class PostgresqlTimeline:
    """See `everpost.store.timeline.Timeline`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, sums: Counts, now_s: int) -> None:
        """See the port."""

        async def add(connection: Connection) -> None:
            await connection.fetch_value("lock_ids", task_ids=[LAST])  # before the first look, there is no row to lock
            last = await get_value(connection, LAST)
            if last == (text := write_counts(sums)):
                return
            await set_value(connection, LAST, text)
            began_s = now_s // MINUTE_S * MINUTE_S
            known = await connection.fetch_value("find_minute", began_s=began_s)
            grown = Counts() if last is None else growth(read_counts(last), sums)
            if (counts := added(known, grown)) is not None:
                await connection.run("set_minute", began_s=began_s, counts=counts)

        await self._database.write(add)

    async def slices(self, from_s: int, until_s: int) -> list[Slice]:
        """See the port."""
        rows = await self._database.read(
            lambda connection: connection.fetch_all("timeline_between", from_s=from_s, until_s=until_s)
        )
        return [Slice(row["began_s"], read_counts(row["counts"])) for row in rows]
