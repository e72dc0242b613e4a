"""The port's failures on PostgreSQL, tables `failures`, `failure_causes` and `failure_counts`."""

from datetime import UTC, tzinfo

from everpost.store.failures import (
    ALL,
    MOST_COUNTS,
    SLACK,
    WHOLE,
    Failures,
    LookedAt,
    failures_of,
    samples_of,
    window_of,
    with_samples,
)
from everpost.store.lists.cursor import BEGINNING, Key
from everpost.store.postgresql.care.meta import get_value, set_value
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.tasks.failures import keep_failures

CHANGES = 50_000  # added up in one transaction


class PostgresqlFailures:
    """See `everpost.store.failures.FailuresStore`."""

    def __init__(self, database: Database, zone: tzinfo = UTC) -> None:
        self._database = database
        self._zone = zone
        self._position: Key | None = BEGINNING  # None: all are looked at

    async def groups(self, since_s: int, now_s: int, limit: int = 100) -> Failures:
        """See the port."""
        window = window_of(since_s, now_s)
        fine = {"slice_s": window.slice_s, "began_s": window.began_s}
        coarse = {"slice_s": window.coarse_s, "began_s": window.coarse_began_s}

        async def look(connection: Connection) -> Failures:
            top = await connection.fetch_all("top_failures", **coarse, most=MOST_COUNTS, limit=limit + SLACK)
            groups = [ALL, *((row["cause"], row["platform"], row["account_id"]) for row in top)]
            names = ("causes", "platforms", "accounts")
            wanted = {name: list(column) for name, column in zip(names, zip(*groups, strict=True), strict=True)}
            slices = await connection.fetch_all("failure_slices", **fine, **wanted, slices=window.starts())
            found = failures_of(window, top, slices, limit)
            known = await connection.fetch_all("known_failures", task_ids=samples_of(found))
            return with_samples(found, {row["task_id"] for row in known})

        return await self._database.snapshot(look)

    async def fill(self, now_ms: int, limit: int = 1_000) -> int:
        """See the port."""
        after = self._position
        if after is None:
            return 0
        found = await self._database.search(lambda connection: _next(connection, after, limit))
        if found.must_write:
            await self._database.write(lambda connection: _keep(connection, found, self._zone))
        self._position = found.following(now_ms)
        return len(found.rows)


async def fold_failures(database: Database) -> None:
    """Add the changes to the numbers of failures."""
    await database.write(lambda connection: connection.run("fold_failures", limit=CHANGES))


async def _keep(connection: Connection, found: LookedAt, zone: tzinfo) -> None:
    await keep_failures(connection, found.failures(zone))
    if found.is_last:
        await set_value(connection, WHOLE, "whole")


async def _next(connection: Connection, after: Key, limit: int) -> LookedAt:
    await connection.fetch_all("begin_search", timeout_ms=60_000)
    rows = await connection.fetch_all("failures_without_cause", at=after.created_at, id=after.task_id, limit=limit)
    return LookedAt(rows, limit, await get_value(connection, WHOLE) is not None)
