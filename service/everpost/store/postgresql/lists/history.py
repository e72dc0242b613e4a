"""The port's noun `history` in PostgreSQL."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, tzinfo
from typing import Any, TypeVar

import msgspec

from everpost.clock import to_text
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
from everpost.store.lists.cursor import Key, write_cursor
from everpost.store.lists.pages import beginning, due_bounds, following, without_doubles
from everpost.store.lists.words import read_query
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import storable
from everpost.store.postgresql.link.transactions import Work
from everpost.store.postgresql.lists.detail import find_ids, find_task
from everpost.store.postgresql.lists.finder import Finder, find_rows, read_counts
from everpost.store.postgresql.lists.rows import task_of_row

Result = TypeVar("Result")

GRACE_S = 1.0  # by which PostgreSQL's own limit is later than this process's


class PostgresqlHistory:
    """See `everpost.store.history.History`. A page costs the same wherever it is in a list."""

    def __init__(self, database: Database, zone: tzinfo = UTC, redactor: Redactor = USUALLY) -> None:
        self._database = database
        self._zone = zone
        self._redactor = redactor

    async def find_task(self, task_id: str) -> TaskDetail | None:
        """See `History`."""
        return await self._database.snapshot(lambda connection: find_task(connection, task_id, self._zone))

    async def find_rows(self, task_ids: Sequence[str]) -> list[TaskRow]:
        """See `History`."""
        rows = await self._database.snapshot(lambda connection: find_rows(connection, task_ids))
        return [task_of_row(row, self._zone) for row in rows]

    async def find_ids(self, prefix: str, limit: int) -> list[IdMatch]:
        """See `History`."""
        return await self._database.snapshot(lambda connection: find_ids(connection, prefix, limit, self._zone))

    async def page(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = 50, *, counted: bool = False
    ) -> Page:
        """See `History`. A search for words is made once for the page and its total."""
        after = beginning(cursor, limit)

        async def look(finder: Finder) -> Page:
            keys = await finder.keys(after, limit + 1)
            rows = await finder.rows(without_doubles(keys[:limit]))
            total = await finder.total(COUNTED) if counted else None
            return Page([task_of_row(row, self._zone) for row in rows], following(keys, limit), total)

        found = await self._database.search_replica(self._search(wanted, look))
        if found is None:
            return await self._searching(wanted, look)
        page, lag_s = found
        return msgspec.structs.replace(page, lag_s=lag_s)

    async def page_ids(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = MAX_LIMIT, *, within_s: float = SEARCH_S
    ) -> tuple[list[str], str | None]:
        """See `History`."""
        after = beginning(cursor, limit, MAX_IDS)
        keys = await self._searching(wanted, lambda finder: finder.keys(after, limit + 1), within_s=within_s)
        return [key.task_id for key in without_doubles(keys[:limit])], following(keys, limit)

    async def step(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = MAX_LIMIT, *, within_s: float = SEARCH_S
    ) -> Step:
        """See `History`."""
        after = beginning(cursor, limit)

        async def look(finder: Finder) -> Step:
            keys = without_doubles(await finder.keys(after, limit))
            tasks = [task_of_row(row, self._zone) for row in await finder.rows(keys)]
            return Step(tasks, [write_cursor(Key(key.created_at, key.task_id)) for key in keys])

        return await self._searching(wanted, look, within_s=within_s)

    async def data_of(self, task_ids: Sequence[str], most_bytes: int) -> dict[str, bytes]:
        """See `History`."""
        wanted = {"task_ids": [*task_ids], "most": most_bytes}
        rows = await self._database.search(
            lambda connection: connection.fetch_all("data_of_tasks", **wanted), looks_far=False
        )
        return {row["task_id"]: row["data"].encode() for row in rows if row["data"] is not None}

    async def sizes(self, task_ids: Sequence[str]) -> list[int]:
        """See `History`."""
        asked = [task_id for task_id in task_ids if storable(task_id) == task_id]
        rows = await self._database.read(lambda connection: connection.fetch_all("find_sizes", task_ids=asked))
        sizes = {row["task_id"]: row["size_bytes"] for row in rows}
        return [sizes.get(task_id, 0) for task_id in task_ids]

    async def total(self, wanted: TaskFilter, limit: int | None = COUNTED, *, within_s: float = SEARCH_S) -> Total:
        """See `History`."""
        return await self._searching(wanted, lambda finder: finder.total(limit), within_s=within_s)

    async def page_due(self, from_ms: int, until_ms: int, after: str | None = None, limit: int = 50) -> Page:
        """See `History`."""
        given = due_bounds(from_ms, until_ms, after, limit)
        given |= {"at": storable(given["at"]), "id": storable(given["id"])}

        async def look(connection: Connection) -> tuple[list[Any], list[Any]]:
            keys = await connection.fetch_all("page_due_keys", **given, limit=limit + 1)
            rows = await connection.fetch_all("rows_of_ledger", task_ids=[key["task_id"] for key in keys[:limit]])
            return [[*key.values()] for key in keys], [[*row.values()] for row in rows]

        keys, rows = await self._database.snapshot(look)
        found = {row.task_id: row for row in (task_of_row(row, self._zone) for row in rows)}
        return Page([found[key[-1]] for key in keys[:limit] if key[-1] in found], following(keys, limit))

    async def count_due(self, bounds_ms: Sequence[int], reach: Sequence[str] | None = None) -> list[Total]:
        """See `History`."""
        texts = [to_text(bound) for bound in bounds_ms]
        name, given = "count_due", {"lows": texts[:-1], "highs": texts[1:], "most": COUNTED}
        if reach is not None:
            name, given = "count_due_reached", given | {"most": LOOKED_AT, "reach": [storable(one) for one in reach]}
        rows = await self._database.read(lambda connection: connection.fetch_all(name, **given))
        return [Total(row["tasks"], row["looked"] < given["most"]) for row in rows]

    async def summary(self, name_of: Callable[[str], str] = str) -> Summary:
        """See `History`. Triggers keep the numbers."""
        return summary_of(await self._database.read(read_counts), name_of)

    async def _searching(
        self, wanted: TaskFilter, operation: Callable[[Finder], Awaitable[Result]], *, within_s: float = SEARCH_S
    ) -> Result:
        """Run `operation` with a finder of the tasks, all in one state of the database."""
        search = self._search(wanted, operation, within_s)
        return await self._database.search(search, within_s=within_s, looks_far=may_look_far(wanted))

    def _search(
        self, wanted: TaskFilter, operation: Callable[[Finder], Awaitable[Result]], within_s: float = SEARCH_S
    ) -> Work[Result]:
        query = None if wanted.q is None else read_query(wanted.q, self._redactor)
        timeout_ms = round((within_s + GRACE_S) * 1000)

        async def run(connection: Connection) -> Result:
            await connection.fetch_all("begin_search", timeout_ms=timeout_ms)
            return await operation(await Finder.begin(connection, wanted, query, self._zone))

        return run
