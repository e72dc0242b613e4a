"""Copies the tasks of an original system's second file (`task_queue.db`) into the ledger, to be retried."""

import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec

from everpost.errors import DatabaseUnusable
from everpost.store.maintenance import ImportReport, Progress
from everpost.store.sqlite.faults import explained
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.adopt import EPOCH, from_data
from everpost.store.sqlite.schema.migrate import LOCK_WAIT_S, migrate

CHUNK_ROWS = 1_000
FIRST_ROWID = 1 - 2**63  # rowids may be negative

COPIED = (
    "task_id", "task_type", "priority", "status", "data", "result", "error_message", "retry_count", "max_retries",
    "created_at", "started_at", "completed_at", "updated_at",
)  # fmt: skip
NEEDED = frozenset({"task_id", "task_type"})
FROM_DATA = ("platform", "account_id", "title")


def import_task_queue(path: Path, source: Path, progress: Progress | None = None) -> ImportReport:
    """See `Maintenance.import_queue`. The rows get no `accepted_by`, and each chunk is a transaction."""
    started = time.perf_counter()
    columns, total = _examine(path, source)
    migrate(path)
    with explained(path), closing(_connect(path, source)) as connection:
        report = _copy(connection, _copy_statement(columns), total, progress or _ignore)
    return msgspec.structs.replace(report, took_s=time.perf_counter() - started)


def _ignore(_done: int, _total: int) -> None:
    """The caller does not want the progress."""


def _examine(path: Path, source: Path) -> tuple[frozenset[str], int]:
    """The columns of the source that are copied, and its number of rows."""
    if not source.is_file():
        raise DatabaseUnusable(f"There is no file {source} to import.")
    if path.exists() and path.samefile(source):
        raise DatabaseUnusable(f"{source} is the database itself; its task_queue was adopted when it was opened first.")
    try:
        with closing(sqlite3.connect(_address(source, "ro"), uri=True)) as connection:
            names = connection.execute("SELECT lower(name) FROM pragma_table_xinfo('task_queue')").fetchall()
            columns = frozenset(name for (name,) in names)
            _check_table(source, connection)
            _check_columns(source, columns)
            return columns, connection.execute("SELECT count(*) FROM task_queue").fetchone()[0]
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{source} cannot be imported: {error}.") from error


def _check_table(source: Path, connection: sqlite3.Connection) -> None:
    """Refuse a task_queue whose rows are calculated: reading a view or a virtual table might never end."""
    found = connection.execute(
        "SELECT type, sql, (SELECT count(*) FROM pragma_table_xinfo('task_queue') WHERE hidden <> 0) "
        "FROM sqlite_schema WHERE lower(name) = 'task_queue'"
    ).fetchone()
    if found is not None and (found[0] != "table" or found[1].upper().startswith("CREATE VIRTUAL") or found[2]):
        raise DatabaseUnusable(f"The task_queue of {source} is not a plain table, so it is not imported.")


def _check_columns(source: Path, columns: frozenset[str]) -> None:
    if not columns:
        raise DatabaseUnusable(f"{source} has no table task_queue; the original keeps it in a file task_queue.db.")
    if lacking := NEEDED - columns:
        raise DatabaseUnusable(
            f"The task_queue of {source} is another program's: it has no {', '.join(sorted(lacking))}."
        )


def _address(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.absolute()))}?mode={mode}"


def _connect(path: Path, source: Path) -> sqlite3.Connection:
    """Everpost's file with the source attached. Rows are copied inside SQLite, so odd text arrives unchanged."""
    connection = sqlite3.connect(_address(path, "rw"), uri=True, timeout=LOCK_WAIT_S, isolation_level=None)
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA trusted_schema = OFF")
    try:
        connection.execute("ATTACH ? AS source", (_address(source, "ro"),))
    except sqlite3.Error as error:
        connection.close()
        raise DatabaseUnusable(f"{source} cannot be imported: {error}.") from error
    return connection


def _copy_statement(columns: frozenset[str]) -> str:
    """One chunk's INSERT. A row whose task has left the ledger since an earlier import is not copied again."""
    values = {name: name for name in COPIED if name in columns}
    values["task_type"] = "ifnull(task_type, '')"
    values["created_at"] = _first_time(columns)
    values |= {name: from_data(name) if "data" in columns else "NULL" for name in FROM_DATA}
    whole = "task_data IS NOT NULL" + (" OR old.data IS NULL" if "data" in columns else " OR 1")
    return (
        f"INSERT INTO main.task_queue ({', '.join(values)}) "  # noqa: S608 - Everpost's own names
        f"SELECT {', '.join(values.values())} FROM source.task_queue AS old "
        "WHERE rowid > :after AND rowid <= :last AND task_id IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM main.task_queue AS t WHERE t.task_id = old.task_id) "
        f"AND NOT EXISTS (SELECT 1 FROM main.publish_tasks AS t WHERE t.job_id = old.task_id AND ({whole})) "
        "AND NOT EXISTS (SELECT 1 FROM main.publish_tasks_archive AS t WHERE t.job_id = old.task_id) "
        "ORDER BY rowid ON CONFLICT DO NOTHING"
    )


def _first_time(columns: frozenset[str]) -> str:
    known = [name for name in ("created_at", "updated_at") if name in columns]
    return f"coalesce({', '.join((*known, repr(EPOCH)))}, '')"


def _copy(connection: sqlite3.Connection, statement: str, total: int, progress: Progress) -> ImportReport:
    report, after = ImportReport(), FIRST_ROWID - 1
    while True:
        last, rows, without_id = connection.execute(
            "SELECT max(place), count(*), count(*) - count(task_id) FROM "
            "(SELECT rowid AS place, task_id FROM source.task_queue WHERE rowid > ? ORDER BY rowid LIMIT ?)",
            (after, CHUNK_ROWS),
        ).fetchone()
        if rows == 0:
            return report
        added = connection.execute(statement, {"after": after, "last": last}).rowcount
        report, after = _add(report, rows, added, without_id), last
        progress(report.read, total)


def _add(report: ImportReport, rows: int, added: int, without_id: int) -> ImportReport:
    return ImportReport(
        read=report.read + rows,
        added=report.added + added,
        present=report.present + rows - added - without_id,
        without_id=report.without_id + without_id,
    )
