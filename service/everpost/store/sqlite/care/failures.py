"""The port's failures on SQLite, tables `failures`, `failure_causes` and `failure_counts`."""

from datetime import UTC, tzinfo
from typing import Any

import msgspec

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
from everpost.store.sqlite.care.meta import get_value, set_value
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.duplicates import named_rows
from everpost.store.sqlite.tasks.failures import keep_failures


class SqliteFailures:
    """See `everpost.store.failures.FailuresStore`."""

    def __init__(self, database: Database, zone: tzinfo = UTC) -> None:
        self._database = database
        self._zone = zone
        self._position: Key | None = BEGINNING  # None: all are looked at

    async def groups(self, since_s: int, now_s: int, limit: int = 100) -> Failures:
        """See the port."""
        window = window_of(since_s, now_s)
        coarse = {"slice_s": window.coarse_s, "began_s": window.coarse_began_s, "most": MOST_COUNTS}

        def look(connection: sqlite3.Connection) -> Failures:
            with snapshot(connection):
                top = named_rows(connection, "top_failures", coarse | {"limit": limit + SLACK})
                groups = [[row["cause"], row["platform"], row["account_id"]] for row in top]
                wanted = {"groups": _json([ALL, *groups]), "slices": _json(window.starts()), "slice_s": window.slice_s}
                slices = named_rows(connection, "failure_slices", wanted)
                found = failures_of(window, top, slices, limit)
                known = connection.execute(load("known_failures"), {"task_ids": _json(samples_of(found))})
                return with_samples(found, {task_id for (task_id,) in known})

        return await self._database.read(look)

    async def fill(self, now_ms: int, limit: int = 1_000) -> int:
        """See the port."""
        after = self._position
        if after is None:
            return 0
        found = await self._database.read(lambda connection: _next(connection, after, limit))
        if found.must_write:
            await self._database.write(lambda connection: _keep(connection, found, self._zone))
        self._position = found.following(now_ms)
        return len(found.rows)


def _keep(connection: sqlite3.Connection, found: LookedAt, zone: tzinfo) -> None:
    keep_failures(connection, found.failures(zone))
    if found.is_last:
        set_value(connection, WHOLE, "whole")


def _next(connection: sqlite3.Connection, after: Key, limit: int) -> LookedAt:
    given = {"at": after.created_at, "id": after.task_id, "limit": limit}
    rows = named_rows(connection, "failures_without_cause", given)
    return LookedAt([*rows], limit, get_value(connection, WHOLE) is not None)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
