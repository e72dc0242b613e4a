"""Full-text search of the history. The index is filled behind the hot path, and asked through `words.Query`.

The index lacks the newest rows of the history and all of the ledger. The newest `SCANNED` rows of each are read and
compared one by one. Only as much of a task's data is read as is compared, because data may be a megabyte long.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from everpost.redaction import Redactor
from everpost.store.lists.words import MAX_DATA_BYTES, Query, cut, texts_in
from everpost.store.meta import HIDDEN_IN_SEARCH
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load

SEARCHED = "searched"  # in everpost_meta: the last row of the history that the index has
SCANNED = 5_000
FEW = 20_000  # up to so many matches are sorted; with more, each row of the list is looked up among them
CHUNK = 250  # the most rows of one transaction; fewer if texts are long, so that no post waits long


class Hits(msgspec.Struct, frozen=True):
    """The rows found for a query.

    Attributes:
        rows: The matching row numbers of the history that the index has; None if there are more than `FEW`.
        unindexed: The matching row numbers of the history's newest rows, which the index does not have yet.
        waiting: The matching row numbers of the ledger's newest rows.
    """

    rows: tuple[int, ...] | None
    unindexed: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()


def find_hits(connection: sqlite3.Connection, query: Query) -> Hits:
    """The matches in the index and in the newest rows of ledger and history; see `Hits`."""
    if not query.phrases:
        return Hits(())
    parameters = {"query": expression_of(query), "limit": FEW + 1}
    rows = tuple(row for (row,) in connection.execute(load("find_hits"), parameters))
    newest = {"searched": _searched(connection), "scanned": SCANNED}
    return Hits(
        rows=rows if len(rows) <= FEW else None,
        unindexed=tuple(_scan(connection, "scan_unindexed", newest, query)),
        waiting=tuple(_scan(connection, "scan_waiting", newest, query)),
    )


def expression_of(query: Query) -> str:
    """The FTS5 expression (https://sqlite.org/fts5.html#full_text_query_syntax); it needs a phrase."""
    quoted = [f'"{" ".join(phrase)}"' for phrase in query.phrases]
    return " AND ".join(quoted) + ("*" if query.open_ended else "")


def _scan(connection: sqlite3.Connection, statement: str, parameters: dict[str, int], query: Query) -> Iterator[int]:
    """The row numbers of a statement's rows that match."""
    for row, *texts in _texts_of_rows(connection, statement, parameters):
        if query.may_match(b"\n".join(texts)) and query.matches(_document(query.redactor, *texts)):
            yield row


def _texts_of_rows(
    connection: sqlite3.Connection, statement: str, parameters: dict[str, int]
) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """The number of each of a statement's rows, its title, its error, and as much of its data as is compared."""
    for row, *texts in connection.execute(load(statement), parameters | {"most": MAX_DATA_BYTES}):
        title, error, data = (text or b"" for text in texts)
        yield row, title, error, data


def next_rows(connection: sqlite3.Connection, limit: int, redactor: Redactor) -> tuple[int, list[tuple[int, str]]]:
    """The number of the last row that the index has, and the next rows with their texts."""
    after = _searched(connection)
    rows = _texts_of_rows(connection, "rows_to_search", {"after": after, "limit": limit})
    return after, [(row, _document(redactor, *texts)) for row, *texts in rows]


def add_rows(connection: sqlite3.Connection, after: int, documents: Sequence[tuple[int, str]]) -> bool:
    """Add rows to the index; False if another process has done so."""
    if _searched(connection) != after:
        return False
    connection.execute(load("add_search_rows"), {"rows": msgspec.json.encode(documents).decode()})
    connection.execute(load("set_meta"), {"key": SEARCHED, "value": str(documents[-1][0])})
    return True


def _searched(connection: sqlite3.Connection) -> int:
    found: Any = connection.execute(load("get_meta"), {"key": SEARCHED}).fetchone()
    return 0 if found is None else int(found[0])


def forget_rows(connection: sqlite3.Connection, hidden: str) -> bool:
    """Empty the index if it was filled with another redactor than that of this digest; whether it had rows."""
    found = connection.execute(load("get_meta"), {"key": HIDDEN_IN_SEARCH}).fetchone()
    if found is not None and found[0] == hidden:
        return False
    was_filled = _searched(connection) > 0
    connection.execute(load("empty_search"))
    connection.execute(load("set_meta"), {"key": SEARCHED, "value": "0"})
    connection.execute(load("set_meta"), {"key": HIDDEN_IN_SEARCH, "value": hidden})
    return was_filled


def _document(redactor: Redactor, title: bytes, error: bytes, data: bytes) -> str:
    title = b"" if redactor.hides_member("title") else title
    words = redactor.hide_text(error.decode(errors="replace"))
    return cut(title.decode(errors="replace"), words, texts_in(data, redactor))
