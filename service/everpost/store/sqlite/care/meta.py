"""Table `everpost_meta`: values that all processes of a file share."""

from collections.abc import Sequence

import msgspec

from everpost.clock import system_clock
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

    now_ms = staticmethod(system_clock)
    """See `Meta.now_ms`: processes that share a file share a host."""

    async def get(self, key: str) -> str | None:
        """See `Meta.get`."""
        return await self._database.read(lambda connection: get_value(connection, key))

    async def get_all(self, keys: Sequence[str]) -> dict[str, str]:
        """See `Meta.get_all`."""
        parameters = {"keys": msgspec.json.encode(keys).decode()}
        return await self._database.read(lambda connection: dict(connection.execute(load("get_all_meta"), parameters)))

    async def set(self, key: str, value: str | None) -> None:
        """See `Meta.set`."""
        await self._database.write(lambda connection: set_value(connection, key, value))

    async def replace(self, key: str, old: str | None, value: str) -> bool:
        """See `Meta.replace`."""
        name = "add_meta" if old is None else "replace_meta"
        values = {"key": key, "old": old, "value": value}
        return await self._database.write(lambda connection: connection.execute(load(name), values).rowcount) > 0

    async def count_time(self, rule: CountStep) -> ClockMark:
        """See `Meta.count_time`."""

        def count(connection: sqlite3.Connection) -> ClockMark:
            mark = rule(read_mark(get_value(connection, CLOCK)))
            set_value(connection, CLOCK, msgspec.json.encode(mark).decode())
            set_value(connection, COUNTED, str(mark.counted_ms))
            return mark

        return await self._database.write(count)


def get_value(connection: sqlite3.Connection, key: str) -> str | None:
    """See `Meta.get`."""
    row = connection.execute(load("get_meta"), {"key": key}).fetchone()
    return None if row is None else str(row[0])


def set_value(connection: sqlite3.Connection, key: str, value: str | None) -> None:
    """See `Meta.set`."""
    connection.execute(load("forget_meta" if value is None else "set_meta"), {"key": key, "value": value})
