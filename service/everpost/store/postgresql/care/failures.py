"""The port's failures on PostgreSQL, tables `failures`, `failure_causes` and `failure_counts`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any

from everpost.clock import to_text
from everpost.store.failures import AGAIN_MS, MOST_COUNTS, WHOLE, Failures, failure_of_row, failures_of, window_of
from everpost.store.lists.cursor import BEGINNING, Key
from everpost.store.postgresql.care.meta import get_value, set_value
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.tasks.failures import keep_failures


class PostgresqlFailures:
    """See `everpost.store.failures.FailuresStore`."""

    def __init__(self, database: Database, zone: tzinfo = UTC) -> None:
        self._database = database
        self._zone = zone
        self._position: Key | None = BEGINNING  # None: all are looked at

    async def groups(self, since_s: int, now_s: int, limit: int = 100) -> Failures:
        """See the port."""
        window = window_of(since_s, now_s)
        given = {"slice_s": window.slice_s, "began_s": window.began_s}
        starts = [window.began_s + window.slice_s * number for number in range(window.slices)]

        async def look(connection: Connection) -> Failures:
            top = await connection.fetch_all("top_failures", **given, most=MOST_COUNTS, limit=limit)
            groups = {
                "causes": [row["cause"] for row in top],
                "platforms": [row["platform"] for row in top],
                "accounts": [row["account_id"] for row in top],
            }
            slices = await connection.fetch_all("failure_slices", **given, **groups, slices=starts) if top else []
            return failures_of(window, top, slices, counted=top[0]["numbers"] if top else 0)

        return await self._database.snapshot(look)

    async def fill(self, now_ms: int, limit: int = 1_000) -> int:
        """See the port."""
        after = self._position
        if after is None:
            return 0
        rows, is_whole = await self._database.search(lambda connection: _next(connection, after, limit))
        failures = [failure_of_row(row, self._zone) for row in rows if not row["is_known"]]
        is_last = len(rows) < limit
        if failures or (is_last and not is_whole):
            await self._database.write(lambda connection: _keep(connection, failures, is_whole=is_last))
        oldest = rows[-1]["created_at"] if rows else ""
        if is_last or (is_whole and oldest < to_text(now_ms - AGAIN_MS)):
            self._position = None
        else:
            self._position = Key(oldest, rows[-1]["task_id"])
        return len(rows)


async def fold_failures(database: Database) -> None:
    """Add the changes to the numbers of failures."""
    await database.write(lambda connection: connection.run("fold_failures", limit=CHANGES))


CHANGES = 50_000  # added up in one transaction


async def _keep(connection: Connection, failures: Sequence[Mapping[str, Any]], *, is_whole: bool) -> None:
    await keep_failures(connection, failures)
    if is_whole:
        await set_value(connection, WHOLE, "whole")


async def _next(connection: Connection, after: Key, limit: int) -> tuple[list[dict[str, Any]], bool]:
    await connection.fetch_all("begin_search", timeout_ms=60_000)
    rows = await connection.fetch_all("failures_without_cause", at=after.created_at, id=after.task_id, limit=limit)
    return [dict(row) for row in rows], await get_value(connection, WHOLE) is not None
