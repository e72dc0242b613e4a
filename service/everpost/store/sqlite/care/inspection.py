"""The checks of `everpost doctor` in a database file. They change nothing, not even an original file."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from everpost.store.maintenance import Contents, Depth, OldestDue
from everpost.store.pause import KEY, read_pause
from everpost.store.sqlite.care.backup import open_read_only
from everpost.store.sqlite.care.meta import get_value
from everpost.store.sqlite.faults import explained
from everpost.store.sqlite.file.connection import PRAGMAS
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.counts import find_drift
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.schema.adopt import Duplicates, find_duplicates
from everpost.store.sqlite.schema.migrate import Kind, find_addable
from everpost.store.sqlite.schema.schema import APPLICATION_ID, SCHEMA_VERSION, Missing
from everpost.store.sqlite.schema.strangers import bounded, find_strangers

SAMPLE = 5
CHECKS = {Depth.QUICK: "quick_check", Depth.THOROUGH: "integrity_check"}
WORDS = {"FULL": "2", "MEMORY": "2", "ON": "1", "OFF": "0"}  # the form in which SQLite reports these values


class Upgrade(msgspec.Struct, frozen=True):
    """The kind of a file, and what the next start will add to it."""

    kind: Kind
    missing: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    duplicates: Duplicates = Duplicates()


def inspect_upgrade(path: Path) -> Upgrade | None:
    """Compare a file with `schema.sql`; None if the file does not exist. Blocks.

    Raises:
        DatabaseUnusable: No database, damaged, another program's, or made by a newer Everpost.
        DatabaseUnwritable: It cannot be read.
    """
    if not path.exists():
        return None
    with explained(path), closing(open_read_only(path)) as connection:
        kind = _kind_of(connection)
        if kind == "fresh":
            return Upgrade(kind)
        strangers = find_strangers(connection)
        strangers.check()
        missing = find_addable(connection)
        if kind == "older" and not missing and not strangers.removable:
            kind = "current"
        return Upgrade(kind, _named(missing), tuple(map(str, strangers.removable)), find_duplicates(connection))


async def inspect_contents(database: Database, now: str, depth: Depth) -> Contents:
    """Look at the tasks of an open database. `now` is the present as the tables write times."""
    return await database.read(lambda connection: _contents(connection, now, is_deep=depth is not Depth.FAST))


async def find_damage(database: Database, check: str) -> list[str]:
    """The faults that SQLite's own check of the whole file finds; takes a second per gigabyte or more."""
    return await database.read(lambda connection: _damage(connection, check))


async def wrong_pragmas(database: Database) -> dict[str, str]:
    """The pragmas of a connection for reads, or of the writer, whose values are not those that were set."""
    of_reader = await database.read(lambda connection: _wrong_pragmas(connection, {}))
    return of_reader | await database.write(lambda connection: _wrong_pragmas(connection, {"busy_timeout": "0"}))


def _kind_of(connection: sqlite3.Connection) -> Kind:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID and version <= SCHEMA_VERSION:
        return "older"  # until nothing is found to be missing
    used = connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table')").fetchone()[0]
    return "original" if used else "fresh"


def _named(missing: Missing) -> tuple[str, ...]:
    return (
        *(f"table {name}" for name in missing.tables),
        *(f"column {table}.{column}" for table, column in missing.columns),
        *(f"unique {table} ({', '.join(columns)})" for table, columns in missing.unique),
        *(f"index {name}" for name in missing.indexes),
        *(f"trigger {name}" for name in missing.triggers),
    )


def _contents(connection: sqlite3.Connection, now: str, *, is_deep: bool) -> Contents:
    statuses: dict[str, int] = {}
    for _, status, _, tasks in connection.execute(load("count_tasks")):
        statuses[status] = statuses.get(status, 0) + tasks
    oldest = connection.execute(load("find_oldest_due"), {"now": now}).fetchone()
    return Contents(
        statuses=statuses,
        oldest_due=None if oldest is None else OldestDue(*oldest),
        unreadable=connection.execute(load("count_unreadable")).fetchone()[0],
        published_twice=connection.execute(load("count_published_twice")).fetchone()[0],
        wrong_counts=len(find_drift(connection).by_pair) if is_deep else None,
        in_two_places=_in_two_tables(connection) if is_deep else None,
        pause=read_pause(get_value(connection, KEY)),
    )


def _in_two_tables(connection: sqlite3.Connection) -> list[str]:
    return [str(task_id) for (task_id,) in connection.execute(load("find_in_two_tables"))]


def _damage(connection: sqlite3.Connection, check: str) -> list[str]:
    with bounded(connection, _size_bytes(connection)):
        found = [str(line) for (line,) in connection.execute(f"PRAGMA {check}({SAMPLE})")]
    return [] if found == ["ok"] else found


def _size_bytes(connection: sqlite3.Connection) -> int:
    pages, page_bytes = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * page_bytes)


def _wrong_pragmas(connection: sqlite3.Connection, own: Mapping[str, str]) -> dict[str, str]:
    """The pragmas whose values are not those that were set. `own` are those that only this connection sets."""
    common = {name: WORDS.get(value, value) for name, value in PRAGMAS.items()}
    wanted = {**common, "journal_mode": "wal", **own}
    found = {name: str((connection.execute(f"PRAGMA {name}").fetchone() or ("",))[0]) for name in wanted}
    return {name: value for name, value in found.items() if value != wanted[name]}
