"""Finds out whether a process has a database open, before `everpost restore` replaces the file.

SQLite's own locks work only while the file exists and is readable. The lock on its folder also works if the file was
deleted or is damaged, and it cannot be deleted by accident. The operating system releases it when its process ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from everpost.errors import DatabaseBusy, DatabaseUnusable
from everpost.store.sqlite.faults import code_of
from everpost.store.sqlite.library import sqlite3


def occupy(path: Path) -> int:
    """Mark that this process has a database of the folder open, until the returned descriptor is closed.

    Raises:
        DatabaseBusy: A restore is running.
        OSError: There is no such folder.
    """
    folder = _lock_folder(path, fcntl.LOCK_SH)
    if folder is None:
        raise DatabaseBusy
    return folder


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Keep every Everpost process from opening a database of the folder.

    Raises:
        DatabaseUnusable: One already has it open.
        OSError: There is no such folder.
    """
    folder = _lock_folder(path, fcntl.LOCK_EX)
    if folder is None:
        raise _in_use(path)
    try:
        _check_unused(path)
        yield
    finally:
        os.close(folder)


def _lock_folder(path: Path, kind: int) -> int | None:
    """The folder's descriptor, locked; None if another process's lock prevents it."""
    folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        return None
    except OSError:  # some file systems cannot lock folders; then only SQLite's own locks remain
        pass
    return folder


def _check_unused(path: Path) -> None:
    """Check that no program uses the file. Each user of a WAL database holds a lock, which excludes exclusive use."""
    if not path.exists():
        return
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:  # any other error is that of a damaged file, which a restore replaces
            if code_of(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise _in_use(path) from error


def _in_use(path: Path) -> DatabaseUnusable:
    return DatabaseUnusable(f"A process has {path} open: stop the API, every worker and every other command first.")
