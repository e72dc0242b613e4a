"""The port's timeline on SQLite, table `timeline`."""

from everpost.store.sqlite.care.meta import get_value, set_value
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.timeline import LAST, MINUTE_S, Counts, Slice, added, growth, read_counts, write_counts


class SqliteTimeline:
    """See `everpost.store.timeline.Timeline`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, sums: Counts, now_s: int) -> None:
        """See the port."""

        def add(connection: sqlite3.Connection) -> None:
            last = get_value(connection, LAST)
            if last == (text := write_counts(sums)):
                return
            set_value(connection, LAST, text)
            minute = {"began_s": now_s // MINUTE_S * MINUTE_S}
            known = connection.execute(load("find_minute"), minute).fetchone()
            grown = Counts() if last is None else growth(read_counts(last), sums)
            if (counts := added(None if known is None else known[0], grown)) is not None:
                connection.execute(load("set_minute"), minute | {"counts": counts})

        await self._database.write(add)

    async def slices(self, from_s: int, until_s: int) -> list[Slice]:
        """See the port."""
        given = {"from_s": from_s, "until_s": until_s}
        rows = await self._database.read(
            lambda connection: connection.execute(load("timeline_between"), given).fetchall()
        )
        return [Slice(began_s, read_counts(counts)) for began_s, counts in rows]
