"""Finds and counts the tasks of a filter: looks up what the walks depend on, then makes the walks."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, NamedTuple, Self

from everpost.store.history import TaskFilter, Total
from everpost.store.lists.counted import has_callbacks, hides_callbacks, is_counted, rarer_of, size_of
from everpost.store.lists.cursor import UNDATED, Key
from everpost.store.lists.words import Query
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.statements import Sql, statement
from everpost.store.postgresql.lists.filters import TABLE, Search
from everpost.store.postgresql.lists.local_times import find_bounds
from everpost.store.postgresql.lists.search import FEW, find_hits
from everpost.task.place import Place


class Found(NamedTuple):
    """A task's place, and its position in the order of a list."""

    place: Place
    created_at: str | None
    task_id: str


Counts = Sequence[tuple[str, str, str, int]]
"""Table, status, platform, number."""


class Finder:
    """Finds and counts the tasks of one filter, on a connection that is in a transaction."""

    def __init__(self, connection: Connection, search: Search, counts: Counts) -> None:
        self._connection = connection
        self._search = search
        self._counts = counts

    @classmethod
    async def begin(cls, connection: Connection, wanted: TaskFilter, query: Query | None, zone: tzinfo) -> Self:
        """Look up what the search depends on. Times without an offset are read in `zone`."""
        counts = await read_counts(connection)
        search = Search(
            wanted,
            await find_bounds(connection, wanted, zone),
            None if query is None else await find_hits(connection, query),
            rarer_of(counts, wanted),
            sum(
                tasks for source, status, _, tasks in counts if (source, status) == (TABLE[Place.LEDGER], wanted.status)
            ),
            hides_callbacks(wanted) and has_callbacks(counts),
        )
        return cls(connection, search, counts)

    async def keys(self, after: Key, limit: int) -> list[Found]:
        """The next tasks behind `after`, at most `limit`."""
        found: list[Found] = []
        for start in (after, UNDATED) if isinstance(after.created_at, str) else (_undated(after),):
            if len(found) < limit:
                keys = self._search.keys(dated=start.created_at is not None)
                rows = await self._run(keys, start, limit - len(found))
                found += [Found(Place(row["place"]), row["sort_at"], row["sort_id"]) for row in rows]
        return found

    async def rows(self, keys: Sequence[Found]) -> list[list[Any]]:
        """The rows of these tasks, with the columns of `TaskRow`, in the same order."""
        found: dict[tuple[str, str], list[Any]] = {}
        for place in TABLE:
            task_ids = [key.task_id for key in keys if key.place is place]
            if task_ids:
                rows = await self._connection.fetch_all(f"rows_of_{place}", task_ids=task_ids)
                found |= {(place, row["task_id"]): [*row.values()] for row in rows}
        return [found[key.place, key.task_id] for key in keys]

    async def total(self, limit: int | None) -> Total:
        """See `everpost.store.history.History.total`."""
        if is_counted(self._search.wanted):
            return Total(size_of(self._counts, self._search.wanted), total_is_exact=True)
        if limit is not None and limit <= FEW and self._search.has_more_hits_than_few():
            return Total(limit, total_is_exact=False)
        if self._search.is_counted_by_values():
            await self._connection.fetch_all("plan_by_values")
        ((count,),) = [row.values() for row in await self._run(self._search.counting(), None, limit)]
        return Total(count, total_is_exact=limit is None or count < limit)

    async def _run(self, sql: Sql, after: Key | None, limit: int | None) -> list[dict[str, Any]]:
        values = self._search.parameters(after) | {"limit": limit}
        return await self._connection.fetch_all(sql, **{name: values[name] for name in statement(sql).parameters})


async def find_rows(connection: Connection, task_ids: Sequence[str]) -> list[list[Any]]:
    """The rows of tasks with these ids, with the columns of `TaskRow`; the ledger counts before the history."""
    found: dict[str, list[Any]] = {}
    for place in TABLE:
        for row in await connection.fetch_all(f"rows_of_{place}", task_ids=task_ids):
            found.setdefault(row["task_id"], [*row.values()])
    return [*found.values()]


def _undated(after: Key) -> Key:
    """A position without a text for its time. SQLite sorts a number, which only it can have, before every text."""
    return after if after.created_at is None else UNDATED


async def read_counts(connection: Connection) -> Counts:
    """How many tasks there are by table, status and platform."""
    rows = await connection.fetch_all("count_tasks")
    return [(row["source"], row["status"], row["platform"], row["tasks"]) for row in rows]
