"""The port's noun `history` in SQLite."""

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from itertools import pairwise
from typing import Any, TypeVar

import msgspec

from everpost.clock import read_time, to_text
from everpost.redaction import USUALLY, Redactor
from everpost.store.history import (
    COUNTED,
    LOOKED_AT,
    MAX_IDS,
    MAX_LIMIT,
    SEARCH_S,
    IdMatch,
    Page,
    Step,
    Summary,
    TaskDetail,
    TaskFilter,
    TaskRow,
    Total,
)
from everpost.store.lists.counted import may_look_far, summary_of
from everpost.store.lists.cursor import BEGINNING, Key, write_cursor
from everpost.store.lists.pages import beginning, due_bounds, following, without_doubles
from everpost.store.lists.rows import task_row
from everpost.store.lists.words import read_query
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.detail import data_of_tasks, find_ids, find_task
from everpost.store.sqlite.lists.finder import Finder
from everpost.store.sqlite.lists.rows import KEY_ALONE, ROW, find_rows
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.place import Place

Result = TypeVar("Result")


class SqliteHistory:
    """See `everpost.store.history.History`. A page costs the same wherever it is in a list."""

    def __init__(self, database: Database, zone: tzinfo = UTC, redactor: Redactor = USUALLY) -> None:
        self._database = database
        self._zone = zone
        self._redactor = redactor

    async def find_task(self, task_id: str) -> TaskDetail | None:
        """See `History`."""
        return await self._database.read(lambda connection: find_task(connection, task_id, self._zone))

    async def find_rows(self, task_ids: Sequence[str]) -> list[TaskRow]:
        """See `History`."""
        rows = await self._database.read(lambda connection: find_rows(connection, task_ids))
        return [task_row(row, self._zone) for row in rows]

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

    async def step(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = MAX_LIMIT, *, within_s: float = SEARCH_S
    ) -> Step:
        """See `History`."""
        after = beginning(cursor, limit)
        rows = await self._searching(wanted, lambda search: search.rows(ROW, after, limit), within_s=within_s)
        rows = without_doubles(rows)
        return Step([task_row(row, self._zone) for row in rows], [write_cursor(Key(*row[-2:])) for row in rows])

    async def data_of(self, task_ids: Sequence[str], most_bytes: int) -> dict[str, bytes]:
        """See `History`."""
        return await self._database.search(
            lambda connection: data_of_tasks(connection, task_ids, most_bytes), looks_far=False
        )

    async def sizes(self, task_ids: Sequence[str]) -> list[int]:
        """See `History`."""
        asked = {"task_ids": json_list(task_ids)}
        rows = await self._database.read(lambda connection: connection.execute(load("find_sizes"), asked).fetchall())
        sizes: dict[str, int] = dict(rows)
        return [sizes.get(task_id, 0) for task_id in task_ids]

    async def total(self, wanted: TaskFilter, limit: int | None = COUNTED, *, within_s: float = SEARCH_S) -> Total:
        """See `History`."""
        return await self._searching(wanted, lambda search: search.total(limit), within_s=within_s)

    async def page_due(self, from_ms: int, until_ms: int, after: str | None = None, limit: int = 50) -> Page:
        """See `History`."""
        given = due_bounds(from_ms, until_ms, after, limit)

        def look(connection: sqlite3.Connection) -> tuple[list[Any], list[Any]]:
            with snapshot(connection):
                keys = connection.execute(load("page_due_keys"), given | {"limit": limit + 1}).fetchall()
                wanted = TaskFilter(task_ids=tuple(key[-1] for key in keys), place=Place.LEDGER)
                return keys, Finder(connection, wanted, None, self._zone).rows(ROW, BEGINNING, limit + 1)

        keys, rows = await self._database.read(look)
        found = {row.task_id: row for row in (task_row(row, self._zone) for row in rows)}
        return Page([found[key[-1]] for key in keys[:limit] if key[-1] in found], following(keys, limit))

    async def count_due(self, bounds_ms: Sequence[int], reach: Sequence[str] | None = None) -> list[Total]:
        """See `History`."""
        bounds = msgspec.json.encode([*pairwise(map(to_text, bounds_ms))]).decode()
        name, given = "count_due", {"bounds": bounds, "most": COUNTED}
        if reach is not None:
            name, given = "count_due_reached", given | {"most": LOOKED_AT, "reach": msgspec.json.encode(reach).decode()}
        rows = await self._database.read(lambda connection: connection.execute(load(name), given).fetchall())
        return [Total(tasks, looked < given["most"]) for tasks, looked in rows]

    async def summary(self, name_of: Callable[[str], str] = str) -> Summary:
        """See `History`. Triggers keep the numbers."""
        counts = await self._database.read(lambda connection: connection.execute(load("count_tasks")).fetchall())
        return summary_of(counts, name_of)

    async def _searching(
        self, wanted: TaskFilter, operation: Callable[[Finder], Result], *, within_s: float = SEARCH_S
    ) -> Result:
        """Run `operation` with a finder of the tasks, all in one state of the database."""
        query = None if wanted.q is None else read_query(wanted.q, self._redactor)

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
