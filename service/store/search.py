"""Full-text search of the history: the index is filled behind the hot path, and asked through `words.Query`.

Not indexed yet are the newest rows of the history and all of the ledger; of each, the newest `SCANNED` rows are read
and compared one by one.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from service.store.database import Database
from service.store.queries import load
from service.store.sqlite import sqlite3
from service.store.words import Query, cut, texts_in

SEARCHED = "searched"  # in everpost_meta: the last row number of the history that the index has
SCANNED = 5_000
FEW = 20_000  # matches that are sorted; of more, the list is walked and each row is looked up among them
CHUNK = 250  # rows indexed in one transaction, so that no completion waits long for it


class Hits(msgspec.Struct, frozen=True):
    """What the index says of a query.

    Attributes:
        rows: The matching row numbers of the history; None if there are more than `FEW`.
        searched: How far the index has come.
    """

    rows: tuple[int, ...] | None
    searched: int


class SearchIndex:
    """The table `publish_tasks_search`; its rowid is `publish_tasks.task_id`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fill(self, limit: int = 1_000) -> int:
        """Index the next rows of the history, at most `limit`; how many there were.

        Several processes may do it at once: of two that took the same rows, one does nothing and answers 0.
        """
        filled = 0
        while filled < limit:
            after, documents = await self._next(min(CHUNK, limit - filled))
            if not documents or not await self._add(after, documents):
                break
            filled += len(documents)
        return filled

    async def _next(self, limit: int) -> tuple[int, list[tuple[int, str]]]:
        return await self._database.read(lambda connection: _next_rows(connection, limit))

    async def _add(self, after: int, documents: Sequence[tuple[int, str]]) -> bool:
        return await self._database.write(lambda connection: _add_rows(connection, after, documents))


def find_hits(connection: sqlite3.Connection, query: Query) -> Hits:
    """The rows of the history that the index finds; see `Hits`."""
    searched = _searched(connection)
    if not query.phrases:
        return Hits((), searched)
    parameters = {"query": query.expression, "limit": FEW + 1}
    rows = tuple(row for (row,) in connection.execute(load("find_hits"), parameters))
    return Hits(rows if len(rows) <= FEW else None, searched)


def register_matcher(connection: sqlite3.Connection, query: Query) -> None:
    """Let statements on this connection say `everpost_matches(title, error_message, data)` of rows not indexed yet."""

    def matches(title: bytes | None, error: bytes | None, data: bytes | None) -> bool:
        return query.matches(_document(title, error, data))

    connection.create_function("everpost_matches", 3, matches)


def _next_rows(connection: sqlite3.Connection, limit: int) -> tuple[int, list[tuple[int, str]]]:
    after = _searched(connection)
    rows = connection.execute(load("rows_to_search"), {"after": after, "limit": limit})
    return after, [(row, _document(*texts)) for row, *texts in rows]


def _add_rows(connection: sqlite3.Connection, after: int, documents: Sequence[tuple[int, str]]) -> bool:
    if _searched(connection) != after:
        return False
    connection.execute(load("add_search_rows"), {"rows": msgspec.json.encode(documents).decode()})
    connection.execute(load("set_meta"), {"key": SEARCHED, "value": str(documents[-1][0])})
    return True


def _searched(connection: sqlite3.Connection) -> int:
    found: Any = connection.execute(load("get_meta"), {"key": SEARCHED}).fetchone()
    return 0 if found is None else int(found[0])


def _document(title: bytes | None, error: bytes | None, data: bytes | None) -> str:
    return cut(_decoded(title), _decoded(error), texts_in(data))


def _decoded(text: bytes | None) -> str:
    return (text or b"").decode(errors="replace")
