"""Table `everpost_meta`: values that all processes of a file share."""

import msgspec

from everpost.running_time import ClockMark, read_mark
from everpost.store.meta import CLOCK, CountStep
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load

COUNTED = "counted_ms"  # the running time as a number, which each request with an Idempotency-Key reads


class SqliteMeta:
    """See `everpost.store.meta.Meta`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> str | None:
        """See `Meta.get`."""
        return await self._database.read(lambda connection: get_value(connection, key))

    async def set(self, key: str, value: str) -> None:
        """See `Meta.set`."""
        await self._database.write(lambda connection: set_values(connection, {key: value}))

    async def count_time(self, rule: CountStep) -> ClockMark:
        """See `Meta.count_time`."""

        def count(connection: sqlite3.Connection) -> ClockMark:
            mark = rule(read_mark(get_value(connection, CLOCK)))
            set_values(connection, {CLOCK: msgspec.json.encode(mark).decode(), COUNTED: str(mark.counted_ms)})
            return mark

        return await self._database.write(count)


def get_value(connection: sqlite3.Connection, key: str) -> str | None:
    """The value under `key`; None if the key was never set."""
    row = connection.execute(load("get_meta"), {"key": key}).fetchone()
    return None if row is None else str(row[0])


def set_values(connection: sqlite3.Connection, values: dict[str, str]) -> None:
    """Put each value under its key."""
    connection.executemany(load("set_meta"), [{"key": key, "value": value} for key, value in values.items()])
