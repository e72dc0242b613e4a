"""Table `everpost_meta`: values that all processes share."""

from collections.abc import Sequence

import msgspec

from everpost.running_time import ClockMark, read_mark
from everpost.store.meta import CLOCK, CountStep
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database

COUNTED = "counted_ms"  # the running time as a number, which each request with an Idempotency-Key reads


class PostgresqlMeta:
    """See `everpost.store.meta.Meta`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now_ms(self) -> int:
        """See `Meta.now_ms`: the server's time."""
        return self._database.primary.clock()

    async def get(self, key: str) -> str | None:
        """See `Meta.get`."""
        return await self._database.read(lambda connection: get_value(connection, key))

    async def get_all(self, keys: Sequence[str]) -> dict[str, str]:
        """See `Meta.get_all`."""
        rows = await self._database.read(lambda connection: connection.fetch_all("get_all_meta", keys=list(keys)))
        return {row["key"]: row["value"] for row in rows}

    async def set(self, key: str, value: str | None) -> None:
        """See `Meta.set`."""
        await self._database.write(lambda connection: set_value(connection, key, value))

    async def replace(self, key: str, old: str | None, value: str) -> bool:
        """See `Meta.replace`."""
        name, given = ("add_meta", {}) if old is None else ("replace_meta", {"old": old})
        return await self._database.write(lambda connection: connection.run(name, key=key, value=value, **given)) > 0

    async def count_time(self, rule: CountStep) -> ClockMark:
        """See `Meta.count_time`."""

        async def count(connection: Connection) -> ClockMark:
            await connection.fetch_value("lock_ids", task_ids=[CLOCK])  # before the first mark, there is no row to lock
            mark = rule(read_mark(await get_value(connection, CLOCK)))
            await set_value(connection, CLOCK, msgspec.json.encode(mark).decode())
            await set_value(connection, COUNTED, str(mark.counted_ms))
            return mark

        return await self._database.write(count)


async def get_value(connection: Connection, key: str) -> str | None:
    """See `Meta.get`."""
    value: str | None = await connection.fetch_value("get_meta", key=key)
    return value


async def set_value(connection: Connection, key: str, value: str | None) -> None:
    """See `Meta.set`."""
    if value is None:
        await connection.run("forget_meta", key=key)
    else:
        await connection.run("set_meta", key=key, value=value)
