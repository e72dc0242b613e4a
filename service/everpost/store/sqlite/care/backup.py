"""Copies a database that is in use. The copy gets its name once it is whole, checked and on the disk."""

import os
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from everpost.errors import DatabaseUnusable
from everpost.flushing import flush
from everpost.store.maintenance import Backup
from everpost.store.sqlite.faults import explained
from everpost.store.sqlite.file.new_file import new_file, remove_abandoned
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.schema.strangers import bounded

SIDE_FILES = ("-wal", "-shm", "-journal")  # what SQLite may keep beside a database


def back_up_database(path: Path, target: Path) -> Backup:
    """See `Maintenance.back_up`."""
    if not path.exists():
        raise DatabaseUnusable(f"There is no database {path}.")
    _check_is_new(target)
    remove_abandoned(target.absolute().parent)
    with explained(target), new_file(target, source=path, like=path) as partial:
        copy_database(path, partial)
        _check_is_new(target)  # another program may have made it meanwhile
        partial.rename(target)
        flush(target.absolute().parent)
        return Backup(target, target.stat().st_size)


def _check_is_new(target: Path) -> None:
    if os.path.lexists(target):
        raise DatabaseUnusable(f"{target} exists already; a backup overwrites nothing.")


def copy_database(source: Path, partial: Path) -> None:
    """Copy a database as it is at one moment into an empty file, read the copy back, and flush it.

    Raises:
        DatabaseUnusable: The copy is damaged.
    """
    with closing(open_read_only(source)) as connection, bounded(connection, source.stat().st_size):
        connection.execute("VACUUM INTO ?", (str(partial.absolute()),))
    check_integrity(partial, f"The copy is damaged, and so, most likely, is {source}")
    flush(partial)


def check_integrity(path: Path, otherwise: str) -> None:
    """Read the whole file.

    Raises:
        DatabaseUnusable: It is damaged; the message begins with `otherwise`. Or reading it takes too long.
    """
    with closing(open_read_only(path)) as connection, bounded(connection, path.stat().st_size):
        (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if answer != "ok":
        raise DatabaseUnusable(f"{otherwise}: {answer}.")


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing."""
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=30)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA ignore_check_constraints = ON")  # another program's CHECK may calculate anything
    return connection
