"""Frees the unused space of a file: a copy without that space takes the file's place."""

from contextlib import closing
from pathlib import Path

from everpost.errors import DatabaseUnusable
from everpost.flushing import flush
from everpost.store.maintenance import Compacted
from everpost.store.sqlite.care.backup import SIDE_FILES, check_integrity
from everpost.store.sqlite.faults import explained
from everpost.store.sqlite.file.new_file import new_file
from everpost.store.sqlite.file.occupancy import alone_with
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.schema import APPLICATION_ID


def compact_database(path: Path) -> Compacted:
    """See `Maintenance.compact`. A copy without free space, and with the map, takes the place of the file.

    The copy is read back and flushed before. A crash leaves the old file or the new one, without a log: the log is
    copied into the old file first.
    """
    path = path.resolve()  # a link keeps its target
    if not path.is_file():
        raise DatabaseUnusable(f"There is no database {path}.")
    with explained(path), alone_with(path):
        _put_log_away(path)
        with new_file(path, source=path, like=path) as copy:
            _copy(path, copy)
            before_bytes, after_bytes = path.stat().st_size, copy.stat().st_size
            copy.rename(path)
            flush(path.parent)
    return Compacted(before_bytes, after_bytes)


def _put_log_away(path: Path) -> None:
    """Copy the log into the file and remove it: SQLite would take it for the log of the new file."""
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise DatabaseUnusable(f"{path} is not an Everpost database; the first start adopts an original one.")
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    left = [name for suffix in SIDE_FILES if (name := path.with_name(path.name + suffix)).exists()]
    if left:
        raise DatabaseUnusable(f"{left[0]} is still there; a process has the database open, or the disk is full.")


def _copy(path: Path, copy: Path) -> None:
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # for the copy, if the file has no map
        connection.execute("VACUUM INTO ?", (str(copy),))
    check_integrity(copy, f"The copy is damaged, and so, most likely, is {path}; nothing was changed")
    flush(copy)
