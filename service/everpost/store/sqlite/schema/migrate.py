"""Brings a database file up to `schema.sql` at the start: makes it, completes it, or adopts an original one."""

import logging
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec

from everpost.errors import DatabaseBusy, DatabaseUnusable
from everpost.log_fields import as_event
from everpost.store.sqlite.faults import code_of, explained
from everpost.store.sqlite.library import lenient_text, sqlite3
from everpost.store.sqlite.schema import adopt
from everpost.store.sqlite.schema.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    Missing,
    addable,
    find_missing,
    read_schema,
    wanted_schema,
)
from everpost.store.sqlite.schema.strangers import Strangers, find_strangers, remove_strangers

logger = logging.getLogger("everpost.store")

LOCK_WAIT_S = 120.0
"""How long a start waits for another process, including that one's backup and migration of a large file."""

Kind = Literal["fresh", "original", "older", "current"]


class MigrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a start found, and what it did to the file.

    Attributes:
        kind: `fresh` was empty, `original` is the original system's, `older` lacked something, `current` lacked
            nothing.
        backup: The copy made before an original file was changed.
        columns_added: The columns added to each table.
        indexes_added: Indexes that were added, or made again because their definition had changed.
        duplicates: How many ids of `publish_tasks` occur more than once. While there are any, the ids of inherited rows
            are not unique, but those of all later rows are.
        duplicate_sample: Some of these ids.
        removed: Objects of other programs on Everpost's tables that could have changed or refused rows.
        null_ids: Rows of `publish_tasks` without an id, counted when a file is adopted; they stay unchanged.
        took_s: Seconds.
    """

    kind: Kind
    backup: Path | None = None
    columns_added: Mapping[str, tuple[str, ...]] = {}
    tables_added: tuple[str, ...] = ()
    indexes_added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    duplicates: int = 0
    duplicate_sample: tuple[str, ...] = ()
    null_ids: int = 0
    took_s: float = 0.0


def migrate(path: Path) -> MigrationReport:
    """Bring the file at `path` up to `schema.sql`. Only other programs' triggers and acting indexes are removed.

    It is one transaction, so a crash leaves the file unchanged, and processes that start together do it once. If
    nothing is missing, nothing is written and no lock is taken. This blocks: call it from a thread.

    Raises:
        DatabaseUnusable: It is not a database, is damaged, another program's, or made by a newer Everpost.
        DatabaseUnwritable: The folder or file cannot be written, or the disk has no room for the backup.
        DatabaseBusy: Another process kept the file locked for `LOCK_WAIT_S`.
    """
    started = time.perf_counter()
    with explained(path), closing(_connect(path)) as connection:
        report = MigrationReport(kind="current")
        if (kind := _kind_of(connection)) != "current":
            if kind == "fresh":  # later, the whole file would have to be copied for this: see space.py
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            report = _upgrade(connection, path)
        else:
            adopt.take_over_backup(path)
        use_wal(connection)
        duplicates = adopt.find_duplicates(connection)
    _warn(report, duplicates)
    return msgspec.structs.replace(
        report, duplicates=duplicates.count, duplicate_sample=duplicates.sample, took_s=time.perf_counter() - started
    )


def is_whole(connection: sqlite3.Connection) -> bool:
    """Whether an open file has all of `schema.sql`.

    The version before knows fewer triggers. If one of its processes starts, it removes the others as foreign.
    """
    return _kind_of(connection) == "current"


def complete(connection: sqlite3.Connection) -> None:
    """Bring an open file up to `schema.sql` again, inside the caller's transaction."""
    _warn(_complete(connection, _kind_of(connection), None), adopt.find_duplicates(connection))


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(str(path.absolute()), timeout=LOCK_WAIT_S, isolation_level=None)
    connection.text_factory = lenient_text
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def use_wal(connection: sqlite3.Connection) -> None:
    """Set WAL mode. This may take several tries, because SQLite calls no busy handler when the journal mode changes.

    Raises:
        DatabaseUnusable: The file system offers no shared memory, so WAL is impossible.
    """
    deadline = time.monotonic() + LOCK_WAIT_S
    while (mode := _try_wal(connection)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if mode is None:
        raise DatabaseBusy
    if mode != "wal":
        raise DatabaseUnusable(f"SQLite stays in journal mode {mode!r} instead of WAL; is this a network file system?")


def _try_wal(connection: sqlite3.Connection) -> str | None:
    """The journal mode; None while other connections prevent the change."""
    try:
        mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
        return mode if mode == "wal" else connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    except sqlite3.OperationalError as error:
        if code_of(error) != sqlite3.SQLITE_BUSY:
            raise
        return None


def _kind_of(connection: sqlite3.Connection) -> Kind:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    _check_owner(application, version)
    if application == 0:
        used = connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table')").fetchone()[0]
        return "original" if used else "fresh"
    is_complete = version >= SCHEMA_VERSION and not find_addable(connection) and not _strangers(connection).removable
    return "current" if is_complete else "older"


def _strangers(connection: sqlite3.Connection) -> Strangers:
    """Objects of other programs that act on Everpost's tables.

    Raises:
        DatabaseUnusable: One cannot be removed.
    """
    strangers = find_strangers(connection)
    strangers.check()
    return strangers


def _check_owner(application: int, version: int) -> None:
    if application not in {0, APPLICATION_ID}:
        raise DatabaseUnusable(
            f"The database belongs to another program (application_id {application:#x}). "
            "Point EVERPOST_DATABASE at another file."
        )
    if version > SCHEMA_VERSION:
        raise DatabaseUnusable(
            f"The database was made by a newer Everpost (schema {version}, this one knows {SCHEMA_VERSION}). "
            "Install that version again, or restore a backup made before it."
        )


def find_addable(connection: sqlite3.Connection) -> Missing:
    """What the file lacks and can get now. A UNIQUE index must wait while there are duplicates."""
    wanted = wanted_schema()
    missing = find_missing(wanted, read_schema(connection, frozenset(wanted.tables)))
    unique = tuple(entry for entry in missing.unique if not adopt.has_to_wait(connection, *entry))
    return msgspec.structs.replace(missing, unique=unique)


def _upgrade(connection: sqlite3.Connection, path: Path) -> MigrationReport:
    """Decide again under the write lock, because another process may have done it all meanwhile; then upgrade."""
    connection.execute("BEGIN IMMEDIATE")
    backup = None
    try:
        kind = _kind_of(connection)
        backup = adopt.back_up(connection, path) if kind == "original" else None
        report = _complete(connection, kind, backup)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if backup:  # the file is unchanged
            backup.unlink()
        raise
    if backup:
        report = msgspec.structs.replace(report, backup=adopt.keep_backup(backup, path))
    if added := sum(map(len, report.columns_added.values())):
        logger.info("[DB] Added %d columns", added, extra=as_event(columns=added))
    return report


def _complete(connection: sqlite3.Connection, kind: Kind, backup: Path | None) -> MigrationReport:
    if kind == "current":
        return MigrationReport(kind=kind)
    strangers = _strangers(connection)
    remove_strangers(connection, strangers)
    adopt.rename_id(connection)
    missing = find_addable(connection)
    _build(connection, missing)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return MigrationReport(
        kind=kind,
        backup=backup,
        columns_added=_by_table(missing.columns),
        tables_added=missing.tables,
        indexes_added=(*(adopt.unique_name(*entry) for entry in missing.unique), *missing.indexes),
        removed=tuple(f"{stranger}: {stranger.sql}" for stranger in strangers.removable),
        null_ids=adopt.count_null_ids(connection) if kind == "original" else 0,
    )


def _by_table(columns: tuple[tuple[str, str], ...]) -> dict[str, tuple[str, ...]]:
    return {table: tuple(name for owner, name in columns if owner == table) for table, _ in columns}


def _build(connection: sqlite3.Connection, missing: Missing) -> None:
    """Make tables and columns, then new values, then the indexes over them, and the counts with their triggers."""
    wanted = wanted_schema()
    for name in missing.tables:
        connection.execute(wanted.tables[name].sql)
    for table, column in missing.columns:
        logger.info("[DB] Adding column to table %s: %s", table, column, extra=as_event(table=table, column=column))
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {addable(wanted.tables[table.lower()].columns[column])}")
    adopt.complete_rows(connection, missing)
    for table, columns in missing.unique:
        adopt.add_unique(connection, table, columns)
    _replace(connection, "INDEX", {name: wanted.indexes[name] for name in missing.indexes})
    _replace(connection, "TRIGGER", {name: wanted.triggers[name] for name in missing.triggers})
    if "task_counts" in missing.tables or any("_counted_" in name for name in missing.triggers):
        adopt.count_tasks(connection)
    if any(name.startswith("publish_tasks_failure_") for name in missing.triggers):
        adopt.forget_left_failures(connection)


def _replace(connection: sqlite3.Connection, kind: str, wanted: Mapping[str, str]) -> None:
    for name, sql in wanted.items():
        connection.execute(f"DROP {kind} IF EXISTS {name}")
        connection.execute(sql)


def _warn(report: MigrationReport, duplicates: adopt.Duplicates) -> None:
    for removed in report.removed:
        told = "[DB] Removed what is not Everpost's, and could change or refuse tasks: %s"
        logger.warning(told, removed, extra=as_event(removed=str(removed)))
    if report.null_ids:
        told = "[DB] %d rows of publish_tasks have no id; they stay, and can be listed only"
        logger.warning(told, report.null_ids, extra=as_event(rows=report.null_ids))
    if duplicates.count:
        logger.warning(
            "[DB] %d ids occur more than once in publish_tasks, such as %s; all rows stay, the UNIQUE index waits",
            duplicates.count,
            ", ".join(duplicates.sample),
            extra=as_event(ids=duplicates.count, sample=list(duplicates.sample)),
        )
