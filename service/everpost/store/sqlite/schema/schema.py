"""Compares `schema.sql` with a file's schema, and makes the statements that add what is missing."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache, lru_cache
from pathlib import Path

import msgspec

from everpost.errors import DatabaseUnusable
from everpost.store.sqlite.library import sqlite3

SCHEMA_VERSION = 1
"""`PRAGMA user_version` of this Everpost's files; raised when an older Everpost must not open them."""

APPLICATION_ID = 0x45565054
"""`PRAGMA application_id` of every Everpost file: EVPT in ASCII."""

_PLACES = (Path(__file__).with_name("schema.sql"), Path(__file__).parents[5] / "schema.sql")  # wheel, checkout

_PIECE = re.compile(r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|[(),]|[^-/'"(),]+|.""", re.DOTALL)
_FIRST_WORD = re.compile(r'"([^"]+)"|\[([^]]+)]|`([^`]+)`|([^\s(]+)|')
_NOT_FOR_ALTER = re.compile(r"\s+(?:UNIQUE|DEFAULT\s+CURRENT_(?:TIMESTAMP|DATE|TIME))\b", re.IGNORECASE)
_NOT_NULL = re.compile(r"\s+NOT\s+NULL\b", re.IGNORECASE)


class Table(msgspec.Struct, frozen=True):
    """A table: its SQL, its columns with their definitions, and its unique column sets."""

    name: str
    sql: str
    columns: Mapping[str, str]
    primary_key: tuple[str, ...]
    unique: frozenset[tuple[str, ...]]


class Schema(msgspec.Struct, frozen=True):
    """The tables of a database, and its named indexes and triggers with their SQL. Names are in lower case."""

    tables: Mapping[str, Table]
    indexes: Mapping[str, str]
    triggers: Mapping[str, str]


class Missing(msgspec.Struct, frozen=True):
    """What a file lacks. An index or trigger with different SQL counts as missing."""

    tables: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    unique: tuple[tuple[str, tuple[str, ...]], ...] = ()
    indexes: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns or self.unique or self.indexes or self.triggers)


@cache
def wanted_schema() -> Schema:
    """The schema of `schema.sql`, read from a database that SQLite builds in memory.

    Raises:
        DatabaseUnusable: This SQLite library is too old for it, or has no FTS5.
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.executescript(schema_text())
        except sqlite3.OperationalError as error:
            raise DatabaseUnusable(
                f"SQLite {sqlite3.sqlite_version} cannot build Everpost's tables ({error}); 3.43 with FTS5 is needed."
            ) from error
        return read_schema(connection)


def schema_text() -> str:
    """The text of `schema.sql`."""
    return next(place for place in _PLACES if place.exists()).read_text(encoding="utf-8")


def read_schema(connection: sqlite3.Connection, only: frozenset[str] | None = None) -> Schema:
    """The schema of a database: all of it, or only the tables named in `only`.

    Other programs' tables are not read, because asking a virtual table for its columns loads its module.
    """
    shadows = {name.lower() for (name,) in connection.execute("SELECT name FROM pragma_table_list WHERE type='shadow'")}
    tables: dict[str, Table] = {}
    named: dict[str, dict[str, str]] = {"index": {}, "trigger": {}}
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"):
        key = name.lower()
        if kind in named:
            named[kind][key] = sql
        elif kind == "table" and not key.startswith("sqlite_") and key not in shadows and (only is None or key in only):
            tables[key] = _read_table(connection, name, sql)
    return Schema(tables, named["index"], named["trigger"])


def _read_table(connection: sqlite3.Connection, name: str, sql: str) -> Table:
    rows = connection.execute("SELECT lower(name), pk FROM pragma_table_xinfo(?) ORDER BY cid", (name,)).fetchall()
    said = dict(column_definitions(sql))
    return Table(
        name=name,
        sql=sql,
        columns={column: said.get(column, "") for column, _ in rows},
        primary_key=tuple(column for _, column in sorted((place, column) for column, place in rows if place)),
        unique=frozenset(_unique_columns(connection, name)),
    )


def _unique_columns(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, ...]]:
    """The columns of every full UNIQUE index, declared in the table or separate, without indexes on expressions."""
    found = connection.execute(
        "SELECT i.name, lower(c.name) FROM pragma_index_list(?) i, pragma_index_info(i.name) c "
        "WHERE i.\"unique\" AND NOT i.partial AND i.origin <> 'pk' ORDER BY i.seq, c.seqno",
        (table,),
    )
    columns: dict[str, tuple[str, ...]] = {}
    for index, column in found:
        columns[index] = (*columns.get(index, ()), column)
    return (names for names in columns.values() if None not in names)


@lru_cache(maxsize=64)  # every process reads the same tables several times while it opens the file
def column_definitions(sql: str) -> Sequence[tuple[str, str]]:
    """The entries between a CREATE TABLE's parentheses: first word in lower case, and the entry without comments."""
    return tuple(_entries(sql))


def _entries(sql: str) -> Iterator[tuple[str, str]]:
    depth, entry = 0, ""
    for piece in (match.group() for match in _PIECE.finditer(sql)):
        depth += (piece == "(") - (piece == ")")
        ends = (piece == "," and depth == 1) or (piece == ")" and depth == 0)
        if ends and entry.strip():
            yield _first_word(entry), " ".join(entry.split())
        if ends or (piece == "(" and depth == 1):
            entry = ""
        elif not piece.startswith(("--", "/*")):
            entry += piece


def _first_word(entry: str) -> str:
    word = next(_FIRST_WORD.finditer(entry.strip()))
    return str(word[word.lastindex or 0]).lower()


def addable(definition: str) -> str:
    """A column's definition in the form of ALTER TABLE ADD COLUMN (https://sqlite.org/lang_altertable.html).

    UNIQUE becomes a separate index. A default that is not a constant is dropped, and NOT NULL without a default is
    dropped.
    """
    kept = _NOT_FOR_ALTER.sub("", definition)
    return kept if " DEFAULT " in kept.upper() else _NOT_NULL.sub("", kept)


def find_missing(wanted: Schema, live: Schema) -> Missing:
    """What `live` lacks of `wanted`; additional objects of `live` are ignored.

    Raises:
        DatabaseUnusable: A table has an Everpost name but another primary key, so it is another program's table.
    """
    shared = [(table, live.tables[name]) for name, table in wanted.tables.items() if name in live.tables]
    for table, has in shared:
        _check_primary_key(table, has)
    return Missing(
        tables=tuple(name for name in wanted.tables if name not in live.tables),
        columns=tuple((table.name, column) for table, has in shared for column in _lacking(table, has)),
        unique=tuple((table.name, columns) for table, has in shared for columns in sorted(table.unique - has.unique)),
        indexes=_differing(wanted.indexes, live.indexes),
        triggers=_differing(wanted.triggers, live.triggers),
    )


def _lacking(table: Table, has: Table) -> list[str]:
    return [column for column in table.columns if column not in has.columns]


def _differing(wanted: Mapping[str, str], live: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name, sql in wanted.items() if name not in live or sql.split() != live[name].split())


def _check_primary_key(table: Table, has: Table) -> None:
    if table.primary_key != has.primary_key:
        raise DatabaseUnusable(
            f"The table {has.name} has the primary key ({', '.join(has.primary_key)}) instead of "
            f"({', '.join(table.primary_key)}): it belongs to another program. Point EVERPOST_DATABASE at another file."
        )
