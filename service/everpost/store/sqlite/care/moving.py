"""An SQLite file as one end of a move; see `everpost.store.moving`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import msgspec

from everpost.store.failures import WHOLE
from everpost.store.fitting import fit_values, refusal_of
from everpost.store.meta import LEADER, MOVE
from everpost.store.moving import (
    COLUMNS,
    Fitted,
    Mark,
    Portion,
    Row,
    Table,
    Value,
    check_mark,
    check_open,
    not_empty,
    read_mark,
    write_mark,
)
from everpost.store.sqlite.care.meta import get_value, set_value
from everpost.store.sqlite.faults import explained
from everpost.store.sqlite.file.occupancy import alone_with
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.counts import KEY as COUNTS
from everpost.store.sqlite.lists.search import SEARCHED
from everpost.store.sqlite.schema.migrate import migrate
from everpost.store.timeline import LAST

MOST_BYTES = 8 << 20  # of one portion

KEYS: Mapping[Table, tuple[str, ...]] = MappingProxyType(
    {
        Table.ARCHIVE: ("task_id",),
        Table.HISTORY: ("task_id",),
        Table.LEDGER: ("id",),
        Table.DECISIONS: ("decision_id",),
        Table.EDITS: ("edit_id",),
        Table.TRACES: ("task_id",),
        Table.RECURRING: ("recurrence_id",),
        Table.KEYS: ("key",),
        Table.BATCHES: ("batch_id",),
        Table.RECENT: ("digest", "task_id"),
        Table.OPERATIONS: ("operation_id",),
        Table.SKIPS: ("operation_id", "task_id"),
        Table.DONE: ("operation_id", "task_id"),
        Table.LIMITS: ("scope",),
        Table.USES: ("used_at", "task_id"),
        Table.CLOSURES: ("scope",),
        Table.FILES: ("id",),
        Table.FILE_ROOTS: ("name",),
        Table.UPLOADS: ("file_id",),
        Table.FILE_USES: ("file_id", "task_id"),
        Table.ACCOUNTS: ("platform", "account_id"),
        Table.API_KEYS: ("key_id",),
        Table.SESSIONS: ("digest",),
        Table.AUDIT: ("audit_id",),
        Table.META: ("key",),
    }
)
"""The primary keys: the order of the rows."""

IDS: Mapping[Table, str] = MappingProxyType({Table.ARCHIVE: "job_id", Table.HISTORY: "job_id", Table.LEDGER: "task_id"})
"""The tables whose rows have a number as their key, and the column of their ids."""

NEXT_NUMBER = """
SELECT 1 + max(
    ifnull((SELECT max(task_id) FROM publish_tasks), 0), ifnull((SELECT max(task_id) FROM publish_tasks_archive), 0)
)
"""
_DATED = frozenset({"schedule_time", "created_at", "updated_at", "published_at", "completed_at"})
NUMERIC: Mapping[Table, frozenset[str]] = MappingProxyType(
    {
        Table.ARCHIVE: _DATED,
        Table.HISTORY: _DATED,
        Table.LEDGER: frozenset({"created_at", "started_at", "completed_at", "updated_at"}),
        Table.FILES: frozenset({"filesize", "duration", "upload_time", "published_at"}),
    }
)
"""The columns of numeric affinity: SQLite stores a text that looks like a number as a number in them."""

OWN_VALUES = (MOVE, SEARCHED, COUNTS, LEADER, WHOLE, LAST)  # the values in everpost_meta that are about this file only


class SqliteMoved:
    """See `everpost.store.moving.MovedStore`. The file is closed to all other processes of Everpost."""

    def __init__(self, path: Path, connection: sqlite3.Connection, cleanup: ExitStack) -> None:
        self._path = path
        self._connection = connection
        self._cleanup = cleanup
        self.name = str(path)

    @classmethod
    def open(cls, path: Path) -> "SqliteMoved":
        """Bring the file up to date, and keep all other processes from opening it.

        Raises:
            DatabaseUnusable: A process has it open, or it is damaged or not Everpost's.
            DatabaseUnwritable: It cannot be written.
        """
        with ExitStack() as cleanup, explained(path):
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
            cleanup.enter_context(alone_with(path))
            migrate(path)
            connection = cleanup.enter_context(closing(sqlite3.connect(str(path.absolute()), isolation_level=None)))
            connection.text_factory = _text
            for name, value in {"synchronous": "FULL", "trusted_schema": "OFF", "cache_size": "-65536"}.items():
                connection.execute(f"PRAGMA {name} = {value}")
            return cls(path.absolute(), connection, cleanup.pop_all())

    async def close(self) -> None:
        """See `MovedStore`."""
        self._cleanup.close()

    async def mark(self) -> Mark | None:
        """See `MovedStore`."""
        with explained(self._path):
            return self._mark()

    async def set_mark(self, before: Mark | None, after: Mark | None) -> None:
        """See `MovedStore`. No other process has the file open, so the mark alone closes it."""
        with self._transaction():
            self._replace_mark(before, after)

    async def check_new(self) -> None:
        """See `MovedStore`."""
        with explained(self._path):
            self._check_new()

    async def begin(self, mark: Mark) -> None:
        """See `MovedStore`."""
        with self._transaction():
            self._check_new()
            self._connection.execute("DELETE FROM everpost_meta")
            set_value(self._connection, MOVE, write_mark(mark))

    async def count(self, table: Table) -> int:
        """See `MovedStore`."""
        with explained(self._path):
            return self._count(table)

    async def portion(self, table: Table, cursor: str | None, limit: int) -> Portion:
        """See `MovedStore`."""
        key = KEYS[table]
        after = [] if cursor is None else msgspec.json.decode(cursor, type=list[str | int])
        with explained(self._path):
            found = self._connection.execute(_select(table, after), (*after, limit + 1))
            rows = _fitting(found, limit)
            has_more = found.fetchone() is not None
        following = msgspec.json.encode(rows[-1][: len(key)]).decode() if rows and has_more else None
        return Portion([_row(table, row) for row in rows], following)

    def fit(self, table: Table, row: Row) -> Fitted:
        """See `MovedStore`."""
        if refusal := refusal_of(table, row):
            return Fitted(None, (refusal,))
        fitted = fit_values(table, row.values)
        if fitted.values is None or table not in NUMERIC:
            return fitted
        pairs = zip(COLUMNS[table], fitted.values, strict=True)
        values = tuple(self._as_stored(value) if column in NUMERIC[table] else value for column, value in pairs)
        return Fitted(values, fitted.faults)

    def _as_stored(self, value: Value) -> Value:
        """The value as a column of numeric affinity has it; a date, such as 2026-01-31, does not look like a number."""
        if not isinstance(value, str) or value[4:5] == "-":
            return value
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS as_stored (value NUMERIC)")
        self._connection.execute("INSERT INTO as_stored VALUES (?)", (value,))
        (stored,) = self._connection.execute("DELETE FROM as_stored RETURNING value").fetchone()
        return cast("Value", stored)

    async def write(self, table: Table, rows: Sequence[tuple[Value, ...]], before: Mark, after: Mark) -> None:
        """See `MovedStore`."""
        with self._transaction():
            self._replace_mark(before, after)
            self._connection.executemany(_insert(table), rows)

    def _check_new(self) -> None:
        check_open(self._mark())
        if any(self._count(table) for table in Table if table is not Table.META):
            raise not_empty(self.name)

    def _mark(self) -> Mark | None:
        return read_mark(get_value(self._connection, MOVE))

    def _replace_mark(self, before: Mark | None, after: Mark | None) -> None:
        check_mark(self._mark(), before, self.name)
        set_value(self._connection, MOVE, write_mark(after))

    def _count(self, table: Table) -> int:
        where = f" WHERE key NOT IN {OWN_VALUES}" if table is Table.META else ""
        count: int = self._connection.execute(f"SELECT count(*) FROM {table}{where}").fetchone()[0]  # noqa: S608 - Everpost's own names
        return count

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _select(table: Table, after: Sequence[str | int]) -> str:
    """The statement of a table's next rows: the primary key, whether a newer row has the id, and the columns."""
    key = ", ".join(KEYS[table])
    conditions = [f"({key}) > ({', '.join('?' * len(after))})"] if after else []
    conditions += [f"key NOT IN {OWN_VALUES}"] if table is Table.META else []
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    columns = ", ".join(COLUMNS[table])
    return f"SELECT {key}, {_is_outdated(table)}, {columns} FROM {table} AS t{where} ORDER BY {key} LIMIT ?"  # noqa: S608 - Everpost's own names


def _is_outdated(table: Table) -> str:
    """SQL: whether a newer row has the id. Each of these tables has an index on its ids."""
    if table not in IDS:
        return "0"
    column, row = IDS[table], KEYS[table][0]
    return f"EXISTS (SELECT 1 FROM {table} AS n WHERE n.{column} = t.{column} AND n.{row} > t.{row})"  # noqa: S608 - Everpost's own names


def _insert(table: Table) -> str:
    columns, values = COLUMNS[table], ", ".join("?" * len(COLUMNS[table]))
    if table is Table.HISTORY:  # an archived row keeps its number, so history and archive number their rows together
        columns, values = ("task_id", *columns), f"({NEXT_NUMBER}), {values}"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - Everpost's own names


def _fitting(found: sqlite3.Cursor, limit: int) -> list[tuple[Any, ...]]:
    """The next rows, at most `limit`, and no more than `MOST_BYTES` of text."""
    rows: list[tuple[Any, ...]] = []
    size_bytes = 0
    while len(rows) < limit and size_bytes < MOST_BYTES and (row := found.fetchone()) is not None:
        rows.append(row)
        size_bytes += sum(len(value) for value in row if isinstance(value, str | bytes))
    return rows


def _row(table: Table, row: tuple[Any, ...]) -> Row:
    key = len(KEYS[table])
    return Row(" ".join(map(str, row[:key])), row[key + 1 :], bool(row[key]))
