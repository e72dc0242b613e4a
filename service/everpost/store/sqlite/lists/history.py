"""The port's noun `history` in SQLite."""

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import TypeVar

from everpost.clock import read_time, to_text
from everpost.store.history import (
    COUNTED,
    MAX_IDS,
    MAX_LIMIT,
    SEARCH_S,
    IdMatch,
    Page,
    Summary,
    TaskDetail,
    TaskFilter,
    Total,
)
from everpost.store.lists.counted import may_look_far, summary_of
from everpost.store.lists.pages import beginning, following, without_doubles
from everpost.store.lists.rows import task_row
from everpost.store.lists.words import read_query
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.detail import find_ids, find_task
from everpost.store.sqlite.lists.finder import Finder
from everpost.store.sqlite.lists.rows import KEY_ALONE, ROW
from everpost.store.sqlite.queries import load

Result = TypeVar("Result")


class SqliteHistory:
    """See `everpost.store.history.History`. A page costs the same wherever it is in a list."""

    def __init__(self, database: Database, zone: tzinfo = UTC) -> None:
        self._database = database
        self._zone = zone

    async def find_task(self, task_id: str) -> TaskDetail | None:
        """See `History`."""
        return await self._database.read(lambda connection: find_task(connection, task_id, self._zone))

    async def find_ids(self, prefix: str, limit: int) -> list[IdMatch]:
        """See `History`."""
        return await self._database.read(lambda connection: find_ids(connection, prefix, limit, self._zone))

    async def page(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = 50, *, counted: bool = False
    ) -> Page:
        """See `History`. A search for words is made once for the page and its total."""
        after = beginning(cursor, limit)
        rows, total = await self._searching(
            wanted, lambda search: (search.rows(ROW, after, limit + 1), search.total(COUNTED) if counted else None)
        )
        items = [task_row(row, self._zone) for row in without_doubles(rows[:limit])]
        return Page(items, following(rows, limit), total)

    async def page_ids(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = MAX_LIMIT, *, within_s: float = SEARCH_S
    ) -> tuple[list[str], str | None]:
        """See `History`."""
        after = beginning(cursor, limit, MAX_IDS)
        rows = await self._searching(wanted, lambda search: search.rows(KEY_ALONE, after, limit + 1), within_s=within_s)
        return [row[-1] for row in without_doubles(rows[:limit])], following(rows, limit)

    async def total(self, wanted: TaskFilter, limit: int | None = COUNTED, *, within_s: float = SEARCH_S) -> Total:
        """See `History`."""
        return await self._searching(wanted, lambda search: search.total(limit), within_s=within_s)

    async def summary(self, name_of: Callable[[str], str] = str) -> Summary:
        """See `History`. Triggers keep the numbers."""
        counts = await self._database.read(lambda connection: connection.execute(load("count_tasks")).fetchall())
        return summary_of(counts, name_of)

    async def _searching(
        self, wanted: TaskFilter, operation: Callable[[Finder], Result], *, within_s: float = SEARCH_S
    ) -> Result:
        """Run `operation` with a finder of the tasks, all in one state of the database."""
        query = None if wanted.q is None else read_query(wanted.q)

        def run(connection: sqlite3.Connection) -> Result:
            connection.create_function("everpost_utc", 1, self._utc_of)
            with snapshot(connection):
                return operation(Finder(connection, wanted, query, self._zone))

        return await self._database.search(run, within_s=within_s, looks_far=may_look_far(wanted))

    def _utc_of(self, stored: object) -> str | None:
        try:
            return None if stored is None else to_text(read_time(str(stored), self._zone))
        except (ValueError, OverflowError):
            return None
