"""Finds and counts the tasks of a filter: looks up what the searches depend on, then makes the searches."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from everpost.store.history import TaskFilter, Total
from everpost.store.lists.counted import asks_only_for, has_callbacks, hides_callbacks, is_counted, rarer_of, size_of
from everpost.store.lists.cursor import BEGINNING, UNDATED, Key
from everpost.store.lists.words import Query
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.filters import Search, compose, time_bounds
from everpost.store.sqlite.lists.search import FEW, expression_of, find_hits
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tables import TABLES
from everpost.task.place import Place


class Finder:
    """Finds and counts the tasks of one filter, on a connection that is in a transaction."""

    def __init__(self, connection: sqlite3.Connection, wanted: TaskFilter, query: Query | None, zone: tzinfo) -> None:
        self._connection = connection
        self._wanted = wanted
        self._query = query
        self._hits = None if query is None else find_hits(connection, query)
        self._counts = connection.execute(load("count_tasks")).fetchall()
        self._rarer, self._statuses = rarer_of(self._counts, wanted), _statuses(self._counts)
        self._zone = zone_in_question(connection, wanted, zone)

    def rows(self, columns: Mapping[Place, str], after: Key, limit: int) -> list[Any]:
        """The next rows behind `after`, at most `limit`."""
        found: list[Any] = []
        for search in self._searches(columns, after):
            if len(found) < limit:
                found += self._connection.execute(search.sql, search.parameters | {"limit": limit - len(found)})
        return found

    def total(self, limit: int | None) -> Total:
        """See `everpost.store.history.History.total`."""
        if is_counted(self._wanted):
            return Total(size_of(self._counts, self._wanted), total_is_exact=True)
        if limit is not None and limit <= FEW and self._has_more_hits_than_few():
            return Total(limit, total_is_exact=False)
        count = 0
        for search in self._searches(None, BEGINNING):
            counting = f"SELECT count(*) FROM ({search.sql})"  # noqa: S608 - made of texts of this package only
            left = -1 if limit is None else limit - count
            count += self._connection.execute(counting, search.parameters | {"limit": left}).fetchone()[0]
        return Total(count, total_is_exact=limit is None or count < limit)

    def _has_more_hits_than_few(self) -> bool:
        """Whether more than `FEW` tasks are known to match: words are all that the filter asks for."""
        return self._hits is not None and self._hits.rows is None and asks_only_for(self._wanted, "q")

    def _searches(self, columns: Mapping[Place, str] | None, after: Key) -> Iterator[Search]:
        """The searches that give the tasks behind `after`, in this order; without `columns` they only count."""
        for start in (after,) if after.created_at is None else (after, UNDATED):
            search = compose(
                self._wanted,
                columns,
                start,
                zone=self._zone,
                hits=self._hits,
                rarer=self._rarer,
                statuses=self._statuses,
                hides_callbacks=hides_callbacks(self._wanted) and has_callbacks(self._counts),
            )
            search.parameters["query"] = self._query and expression_of(self._query)
            yield search


def _statuses(counts: Sequence[Sequence[Any]]) -> list[str | None]:
    """Every status that a row of the history may have; `task_counts` has an empty text for none."""
    return [*sorted({status for source, status, _, _ in counts if source == TABLES[Place.HISTORY]}), None]


def zone_in_question(connection: sqlite3.Connection, wanted: TaskFilter, zone: tzinfo) -> tzinfo | None:
    """`zone` if rows with local times are near the bounds; None if not, so that no search looks for them."""
    if wanted.created_after_ms is None and wanted.created_before_ms is None:
        return None
    low, high = time_bounds(wanted, None)
    low_or_before, high_or_behind = time_bounds(wanted, zone)
    bounds = {"low": low_or_before, "after": low, "before": high, "high": high_or_behind}
    return zone if connection.execute(load("has_local_times"), bounds).fetchone()[0] else None
