"""Finds foreign objects in a file that act on Everpost's tables: they are removed, or the file is refused.

A trigger of another program can delete a task in the transaction that accepts it (I1), its index can refuse an outcome,
and `ON CONFLICT REPLACE` in a table can silently drop a row. Other tables, columns and plain indexes have no effect and
stay.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from everpost.errors import DatabaseUnusable
from everpost.store.sqlite.faults import code_of
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.adopt import unique_name
from everpost.store.sqlite.schema.schema import Schema, Table, column_definitions, wanted_schema

SHADOWS = "publish_tasks_search_"  # tables in which FTS5 keeps the search index
INHERITED = {"celery_task_id": "job_id"}  # an original file's column before it is adopted
SLOWEST_BYTES_S = 4_000_000  # a slower check of the file is being delayed by the file's content
SHORTEST_CHECK_S = 60.0
CHECK_EVERY = 100_000  # instructions of SQLite's virtual machine

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\[[^]]*]|`[^`]*`")
_ACTS = re.compile(r"\b(CHECK|GENERATED|REFERENCES|FOREIGN)\b|\bAS\s*\(|\bON\s+CONFLICT\b", re.IGNORECASE)
_OBLIGES = re.compile(r"\bNOT\s+NULL\b(?!.*\bDEFAULT\b)", re.IGNORECASE)

Kind = Literal["trigger", "index", "view", "virtual table"]


class Stranger(msgspec.Struct, frozen=True):
    """An object that is not Everpost's and can be removed without losing a row."""

    kind: Kind
    name: str
    table: str
    sql: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" on {self.table}" if self.kind in {"trigger", "index"} else "")


class Strangers(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        refusals: Objects that could be removed only by rebuilding one of Everpost's tables.
    """

    removable: tuple[Stranger, ...] = ()
    refusals: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise if the file cannot be used.

        Raises:
            DatabaseUnusable: It has something that cannot be removed.
        """
        if self.refusals:
            raise DatabaseUnusable(
                f"The file has foreign objects that could drop or refuse tasks: {'; '.join(self.refusals)}. "
                "Nothing in it was changed. Export its rows into tables without them, or use another file."
            )


def find_strangers(connection: sqlite3.Connection, *, everything: bool = False) -> Strangers:
    """Compare a file's schema with Everpost's. It only reads `sqlite_schema`, and evaluates nothing in it.

    Args:
        everything: Include objects that act only when they are used: views, virtual tables, triggers on other tables.
    """
    wanted = wanted_schema()
    rows = connection.execute("SELECT type, name, tbl_name, ifnull(sql, '') FROM sqlite_schema").fetchall()
    removable: list[Stranger] = []
    refusals: list[str] = []
    for kind, name, table, sql in rows:
        is_ours = table.lower() in wanted.tables or table.lower().startswith(SHADOWS)
        if kind == "trigger" and name.lower() not in wanted.triggers and (is_ours or everything):
            removable.append(Stranger("trigger", name, table, sql))
        elif kind == "index" and is_ours and sql and _index_acts(connection, wanted, name, table):
            removable.append(Stranger("index", name, table, sql))
        elif kind == "view":
            if is_ours:
                refusals.append(f"a view is called {name}")
            elif everything:
                removable.append(Stranger("view", name, table, sql))
        elif kind == "table" and is_ours:
            refusals += _faults_of_table(connection, wanted, name, sql)
        elif kind == "table" and everything and _is_virtual(sql):
            removable.append(Stranger("virtual table", name, table, sql))
    return Strangers(tuple(removable), tuple(refusals))


def remove_strangers(connection: sqlite3.Connection, strangers: Strangers) -> None:
    """Remove what can be removed, inside the caller's transaction. No module of a virtual table is loaded."""
    for stranger in strangers.removable:
        if stranger.kind != "virtual table":
            connection.execute(f"DROP {stranger.kind} IF EXISTS {quoted(stranger.name)}")
    virtual = [stranger.name for stranger in strangers.removable if stranger.kind == "virtual table"]
    if virtual:  # DROP TABLE would call the module, and so need it
        connection.execute("PRAGMA writable_schema = ON")
        for name in virtual:
            connection.execute("DELETE FROM sqlite_schema WHERE type = 'table' AND name = ? AND rootpage = 0", (name,))
        connection.execute("PRAGMA writable_schema = RESET")


def quoted(name: str) -> str:
    """Any name in SQL's quotes."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _is_virtual(sql: str) -> bool:
    return sql.upper().startswith("CREATE VIRTUAL")


def _index_acts(connection: sqlite3.Connection, wanted: Schema, name: str, table: str) -> bool:
    """Whether a foreign index can refuse a row or calculates something; a plain index only speeds up reads."""
    owner = wanted.tables.get(table.lower())
    stand_ins = {unique_name(table, columns).lower() for columns in owner.unique} if owner is not None else set()
    if name.lower() in wanted.indexes or name.lower().removesuffix("_later") in stand_ins:
        return False
    (unique, partial) = connection.execute(
        'SELECT "unique", partial FROM pragma_index_list(?) WHERE name = ?', (table, name)
    ).fetchone()
    calculated = connection.execute("SELECT 1 FROM pragma_index_xinfo(?) WHERE cid = -2", (name,)).fetchone()
    return bool(unique or partial or calculated)


def _faults_of_table(connection: sqlite3.Connection, wanted: Schema, name: str, sql: str) -> Iterator[str]:
    owner = wanted.tables.get(name.lower())
    if owner is None:
        if _is_virtual(sql):
            yield f"{name} is a virtual table"
        return
    if _is_virtual(owner.sql) or _is_virtual(sql):
        if owner.sql.split() != sql.split():
            yield f"{name} is another virtual table than Everpost's"
        return
    if sql != owner.sql:
        yield from _faults_of_entries(owner, sql)
    for (columns,) in connection.execute(
        "SELECT (SELECT group_concat(lower(name)) FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) "
        "FROM pragma_index_list(?) i WHERE i.origin = 'u'",
        (name,),
    ):
        names = tuple(INHERITED.get(column, column) for column in (columns or "").split(","))
        if names not in owner.unique:
            yield f"{name} must be unique in ({columns})"


def _faults_of_entries(owner: Table, sql: str) -> Iterator[str]:
    ours = {_normal(entry) for _, entry in column_definitions(owner.sql)}
    for column, entry in column_definitions(sql):
        bare = _QUOTED.sub(" ", entry)
        if _normal(entry) in ours:
            continue
        if found := _ACTS.search(bare):
            yield f"{owner.name}.{column} has {' '.join(found.group().split()).rstrip('(').strip()}"
        elif column not in owner.columns and _OBLIGES.search(bare):
            yield f"{owner.name}.{column} must not be NULL"


def _normal(entry: str) -> str:
    return " ".join(entry.split()).lower()


@contextmanager
def bounded(connection: sqlite3.Connection, size_bytes: int) -> Iterator[None]:
    """Limit a check of a whole file to the time that its size explains.

    Raises:
        DatabaseUnusable: It took longer.
    """
    limit_s = SHORTEST_CHECK_S + size_bytes / SLOWEST_BYTES_S
    deadline = time.monotonic() + limit_s
    connection.set_progress_handler(lambda: time.monotonic() > deadline, CHECK_EVERY)
    try:
        yield
    except sqlite3.OperationalError as error:
        if code_of(error) != sqlite3.SQLITE_INTERRUPT:
            raise
        raise DatabaseUnusable(f"To check the file takes longer than {limit_s:,.0f} s; nothing was changed.") from error
    finally:
        connection.set_progress_handler(None, 0)
