"""Adopts a file of the original system: backup, renamed id, duplicates, and values that lists need."""

import logging
import shutil
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from everpost.errors import DatabaseUnwritable
from everpost.flushing import flush
from everpost.log_fields import as_event
from everpost.private_files import private_mode
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.schema import Missing

logger = logging.getLogger("everpost.store")

SAMPLE = 5
ROOM_FACTOR = 3  # for the copy, the new indexes, and the log that holds these until the checkpoint
ROOM_SPARE_BYTES = 16 * 1024 * 1024
EPOCH = "1970-01-01 00:00:00"


class Duplicates(msgspec.Struct, frozen=True):
    """How many ids occur more than once, and some of them."""

    count: int = 0
    sample: tuple[str, ...] = ()


def back_up(connection: sqlite3.Connection, path: Path) -> Path:
    """Copy the whole file beside itself, read the copy back, and flush it; the caller holds the write lock.

    The copy is called `NAME.before-everpost.whole` until the file is changed; then `keep_backup` gives it its name.
    Copies of a start that was killed before that are removed: the file is unchanged, and is copied again.

    Raises:
        DatabaseUnwritable: The disk has no room for it.
    """
    path = path.resolve()  # beside the file itself, not beside a link to it
    _check_room(connection, path)
    partial, whole = _unfinished(path)
    for left in (partial, whole):
        remove_with_side_files(left)  # no other process is here, because this one holds the lock
    partial.touch(mode=private_mode(path.stat().st_mode) & 0o666, exist_ok=False)
    try:
        _copy(path, partial)
        partial.rename(whole)
    finally:
        remove_with_side_files(partial)
    flush(path.parent)
    return whole


def keep_backup(whole: Path, path: Path) -> Path:
    """Give the copy its name, `NAME.before-everpost-UTCTIME`, now that the file has been changed."""
    backup = _free_name(path.resolve())
    whole.rename(backup)
    flush(backup.parent)
    logger.info("[DB] Backup of the original database: %s", backup, extra=as_event(backup=str(backup)))
    return backup


def take_over_backup(path: Path) -> None:
    """Handle what a killed start left beside an adopted file: a complete copy is kept, others are removed."""
    partial, whole = _unfinished(path.resolve())
    remove_with_side_files(partial)
    if whole.exists():
        with suppress(FileNotFoundError):  # another process may do the same
            keep_backup(whole, path)


def remove_with_side_files(path: Path) -> None:
    """Remove an unfinished copy and SQLite's files beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _unfinished(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}.before-everpost.part"), path.with_name(f"{path.name}.before-everpost.whole")


def _check_room(connection: sqlite3.Connection, path: Path) -> None:
    pages, page_bytes = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    wanted = pages * page_bytes * ROOM_FACTOR + ROOM_SPARE_BYTES
    free = shutil.disk_usage(path.parent).free
    if free < wanted:
        raise DatabaseUnwritable(
            f"before {path} is changed it is copied, and then it grows: that takes {wanted >> 20} MiB, "
            f"and {path.parent} has {free >> 20} MiB left"
        )


def _copy(path: Path, target: Path) -> None:
    # Its own connection, because VACUUM cannot run inside the transaction that holds the lock.
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as reader:
        reader.execute("VACUUM INTO ?", (str(target),))
    with closing(sqlite3.connect(f"file:{quote(str(target))}?mode=ro", uri=True)) as copy:
        copy.execute("PRAGMA ignore_check_constraints = ON")
        (answer,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise sqlite3.DatabaseError(answer)
    flush(target)


def _free_name(path: Path) -> Path:
    stem = f"{path.name}.before-everpost-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = (path.with_name(stem if number == 1 else f"{stem}-{number}") for number in range(1, 1_000))
    return next(name for name in names if not name.exists())


def rename_id(connection: sqlite3.Connection) -> None:
    """Give the original's `celery_task_id` its new name; SQLite changes only the schema, and no row."""
    columns = {name for (name,) in connection.execute("SELECT lower(name) FROM pragma_table_xinfo('publish_tasks')")}
    if "celery_task_id" in columns and "job_id" not in columns:
        connection.execute("ALTER TABLE publish_tasks RENAME COLUMN celery_task_id TO job_id")


def complete_rows(connection: sqlite3.Connection, missing: Missing) -> None:
    """Give rows without a time a time, because pages are ordered by it, and fill the ledger's new columns."""
    for table in ("publish_tasks", "task_queue"):
        connection.execute(
            f"UPDATE {table} SET created_at = ifnull(updated_at, '{EPOCH}') WHERE created_at IS NULL"  # noqa: S608 - constants
        )
    if any(table.lower() == "task_queue" and column == "platform" for table, column in missing.columns):
        columns = {name: from_data(name) for name in ("platform", "account_id", "title")}
        changes = ", ".join(f"{name} = ifnull({name}, {value})" for name, value in columns.items())
        connection.execute(f"UPDATE task_queue SET {changes}")  # noqa: S608 - Everpost's own names
    if any(table.lower() == "file_records" and column == "file_id" for table, column in missing.columns):
        connection.execute("UPDATE file_records SET file_id = CAST(id AS TEXT) WHERE file_id IS NULL")


def forget_left_failures(connection: sqlite3.Connection) -> None:
    """Remove the causes of tasks that are no longer failed tasks of the history, which a trigger does else."""
    connection.execute(
        "DELETE FROM failures WHERE NOT EXISTS "
        "(SELECT 1 FROM publish_tasks WHERE job_id = failures.task_id AND status = 'failed')"
    )


def from_data(name: str) -> str:
    """SQL for a member of a row's JSON `data` as text; NULL if it is missing or the data is not JSON."""
    path = f"'$.{name}'"
    text = f"CAST(json_extract(data, {path}) AS TEXT)"
    scalar = f"CASE WHEN json_type(data, {path}) IN ('text', 'integer') THEN {text} END"
    return f"CASE WHEN typeof(data) = 'text' AND json_valid(data) THEN {scalar} END"


def count_null_ids(connection: sqlite3.Connection) -> int:
    """The number of history rows without an id."""
    count: int = connection.execute("SELECT count(*) FROM publish_tasks WHERE job_id IS NULL").fetchone()[0]
    return count


def unique_name(table: str, columns: tuple[str, ...]) -> str:
    """The name of the index that replaces a UNIQUE the table was made without."""
    return "_".join((table, *columns))


def find_duplicates(connection: sqlite3.Connection) -> Duplicates:
    """The ids that occur more than once in the history; searched only if no UNIQUE index forbids duplicates."""
    name = unique_name("publish_tasks", ("job_id",))
    if not _has_plain_index(connection, name):
        return Duplicates()
    repeated = "FROM publish_tasks WHERE job_id IS NOT NULL GROUP BY job_id HAVING count(*) > 1"
    (count,) = connection.execute(f"SELECT count(*) FROM (SELECT 1 {repeated})").fetchone()  # noqa: S608 - constants
    sample = connection.execute(f"SELECT job_id {repeated} LIMIT {SAMPLE}")
    return Duplicates(count, tuple(str(job_id) for (job_id,) in sample))


def _has_plain_index(connection: sqlite3.Connection, name: str) -> bool:
    sql = "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ? AND sql NOT LIKE '%UNIQUE%'"
    return connection.execute(sql, (name,)).fetchone() is not None


def has_to_wait(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> bool:
    """Whether a UNIQUE index was tried before, and duplicates still prevent it."""
    return _has_plain_index(connection, unique_name(table, columns)) and _has_duplicates(connection, table, columns)


def _has_duplicates(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> bool:
    names = ", ".join(columns)
    given = " AND ".join(f"{column} IS NOT NULL" for column in columns)
    found = connection.execute(
        f"SELECT 1 FROM {table} WHERE {given} GROUP BY {names} HAVING count(*) > 1 LIMIT 1"  # noqa: S608 - Everpost's own names
    )
    return found.fetchone() is not None


def add_unique(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> None:
    """Add the index for a UNIQUE the table was made without.

    If there are duplicates, add a plain index for look-ups and a UNIQUE one for new rows; a later start tries again.
    """
    name, names = unique_name(table, columns), ", ".join(columns)
    connection.execute(f"DROP INDEX IF EXISTS {name}")
    connection.execute(f"DROP INDEX IF EXISTS {name}_later")
    try:
        connection.execute(f"CREATE UNIQUE INDEX {name} ON {table} ({names})")
    except sqlite3.IntegrityError:
        _add_plain(connection, table, columns)


def _add_plain(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> None:
    name, names = unique_name(table, columns), ", ".join(columns)
    (last,) = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()  # noqa: S608 - Everpost's own names
    row = {"publish_tasks": "task_id", "task_queue": "id"}[table.lower()]  # an index's WHERE cannot use rowid
    connection.execute(f"CREATE INDEX {name} ON {table} ({names})")
    connection.execute(f"CREATE UNIQUE INDEX {name}_later ON {table} ({names}) WHERE {row} > {last}")


def count_tasks(connection: sqlite3.Connection) -> None:
    """Fill `task_counts` from the existing rows; from then on, triggers keep it."""
    connection.execute("DELETE FROM task_counts")
    for table in ("publish_tasks", "task_queue"):
        connection.execute(
            "INSERT INTO task_counts (source, status, platform, tasks) "  # noqa: S608 - constants
            f"SELECT '{table}', ifnull(status, ''), ifnull(platform, ''), count(*) FROM {table} GROUP BY 2, 3"
        )
