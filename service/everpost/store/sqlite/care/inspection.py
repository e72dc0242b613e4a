"""What `everpost doctor` wants to know of a database file; it changes nothing, not even an original file."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec

from everpost.store.sqlite.file.connection import PRAGMAS
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.faults import explained
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.counts import find_drift
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.schema.adopt import Duplicates, find_duplicates, has_to_wait
from everpost.store.sqlite.schema.migrate import Kind
from everpost.store.sqlite.schema.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    Missing,
    find_missing,
    read_schema,
    wanted_schema,
)
from everpost.store.sqlite.schema.strangers import bounded, find_strangers

SAMPLE = 5
IntegrityCheck = Literal["quick_check", "integrity_check"]
WORDS = {"FULL": "2", "MEMORY": "2", "ON": "1", "OFF": "0"}  # how SQLite reads back what it was told


class OldestDue(msgspec.Struct, frozen=True):
    """The unfinished task that was accepted first, of those that are due."""

    task_id: str
    status: str
    created_at: str


class Upgrade(msgspec.Struct, frozen=True):
    """What kind of file it is, and what the next start will add to it."""

    kind: Kind
    missing: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    duplicates: Duplicates = Duplicates()


class Contents(msgspec.Struct, frozen=True):
    """What stands in a file that is up to date.

    Attributes:
        statuses: Tasks by status, the archive left out.
        unreadable: How many tasks ended because nothing could be read of them, or their row could not be run.
        published_twice: How many tasks were sent again although, as came out later, the platform had accepted them.
        wrong_counts: How many counts differ from the rows they count; None if these were not counted.
        in_two_tables: The ids that break I1; None if they were not looked for.
        damage: What the check found, nothing if all is well; None if none was run.
        pragmas: Pragmas of a reading or the writing connection that read back other than they were set.
    """

    statuses: dict[str, int]
    oldest_due: OldestDue | None
    unreadable: int
    published_twice: int
    wrong_counts: int | None
    in_two_tables: list[str] | None
    damage: list[str] | None
    pragmas: dict[str, str]


def inspect_upgrade(path: Path) -> Upgrade | None:
    """Compare a file with `schema.sql`; None if there is none. Blocks.

    Raises:
        DatabaseUnusable: No database, damaged, another program's, or made by a newer Everpost.
        DatabaseUnwritable: It cannot be read.
    """
    if not path.exists():
        return None
    with explained(path), closing(_open_read_only(path)) as connection:
        kind = _kind_of(connection)
        if kind == "fresh":
            return Upgrade(kind)
        strangers = find_strangers(connection)
        strangers.check()
        missing = _missing(connection)
        if kind == "older" and not missing and not strangers.removable:
            kind = "current"
        return Upgrade(kind, _named(missing), tuple(map(str, strangers.removable)), find_duplicates(connection))


async def inspect_contents(database: Database, now: str, check: IntegrityCheck | None) -> Contents:
    """Look into an open database; a `check` reads the whole file, which takes about a second a gigabyte or more.

    `now` is the present as the tables write times.
    """
    contents = await database.read(lambda connection: _contents(connection, now, check))
    of_writer = await database.write(lambda connection: _wrong_pragmas(connection, {"busy_timeout": "0"}))
    pragmas = contents.pragmas | of_writer
    return msgspec.structs.replace(contents, pragmas=pragmas)


def _open_read_only(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _kind_of(connection: sqlite3.Connection) -> Kind:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID and version <= SCHEMA_VERSION:
        return "older"  # until nothing is found to be missing
    used = connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table')").fetchone()[0]
    return "original" if used else "fresh"


def _missing(connection: sqlite3.Connection) -> Missing:
    wanted = wanted_schema()
    missing = find_missing(wanted, read_schema(connection, frozenset(wanted.tables)))
    unique = tuple(entry for entry in missing.unique if not has_to_wait(connection, *entry))
    return msgspec.structs.replace(missing, unique=unique)


def _named(missing: Missing) -> tuple[str, ...]:
    return (
        *(f"table {name}" for name in missing.tables),
        *(f"column {table}.{column}" for table, column in missing.columns),
        *(f"unique {table} ({', '.join(columns)})" for table, columns in missing.unique),
        *(f"index {name}" for name in missing.indexes),
        *(f"trigger {name}" for name in missing.triggers),
    )


def _contents(connection: sqlite3.Connection, now: str, check: IntegrityCheck | None) -> Contents:
    statuses: dict[str, int] = {}
    for _, status, _, tasks in connection.execute(load("count_tasks")):
        statuses[status] = statuses.get(status, 0) + tasks
    oldest = connection.execute(load("find_oldest_due"), {"now": now}).fetchone()
    return Contents(
        statuses=statuses,
        oldest_due=None if oldest is None else OldestDue(*oldest),
        unreadable=connection.execute(load("count_unreadable")).fetchone()[0],
        published_twice=connection.execute(load("count_published_twice")).fetchone()[0],
        wrong_counts=len(find_drift(connection).by_pair) if check else None,
        in_two_tables=_in_two_tables(connection) if check else None,
        damage=_damage(connection, check) if check else None,
        pragmas=_wrong_pragmas(connection, {}),
    )


def _in_two_tables(connection: sqlite3.Connection) -> list[str]:
    return [str(task_id) for (task_id,) in connection.execute(load("find_in_two_tables"))]


def _damage(connection: sqlite3.Connection, check: IntegrityCheck) -> list[str]:
    with bounded(connection, _size_bytes(connection)):
        found = [str(line) for (line,) in connection.execute(f"PRAGMA {check}({SAMPLE})")]
    return [] if found == ["ok"] else found


def _size_bytes(connection: sqlite3.Connection) -> int:
    pages, page_bytes = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * page_bytes)


def _wrong_pragmas(connection: sqlite3.Connection, own: Mapping[str, str]) -> dict[str, str]:
    """Those that read back other than they were set; `own` are the ones this connection has other than the rest."""
    common = {name: WORDS.get(value, value) for name, value in PRAGMAS.items()}
    wanted = {**common, "journal_mode": "wal", **own}
    found = {name: str((connection.execute(f"PRAGMA {name}").fetchone() or ("",))[0]) for name in wanted}
    return {name: value for name, value in found.items() if value != wanted[name]}
