"""Who has a database open: asked by `everpost restore` before another file takes its place.

SQLite's own locks tell it only while the file is there and can be read; the lock on its folder tells it also when the
file was deleted or is damaged, and nobody can delete it by accident. The system gives it up with its process.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from everpost.errors import DatabaseBusy, DatabaseUnusable
from everpost.store.sqlite.file.faults import code_of
from everpost.store.sqlite.library import sqlite3


def occupy(path: Path) -> int:
    """Say that this process has a database of the folder open, until the descriptor returned is closed.

    Raises:
        DatabaseBusy: A restore is under way.
        OSError: There is no such folder.
    """
    folder = _lock_folder(path, fcntl.LOCK_SH)
    if folder is None:
        raise DatabaseBusy
    return folder


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Keep every process of ours from opening a database of the folder.

    Raises:
        DatabaseUnusable: One has it open already.
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
    """The folder's descriptor, locked; None if somebody's lock forbids it."""
    folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        return None
    except OSError:  # some file systems lock no folders: then SQLite's own locks are all there is
        pass
    return folder


def _check_unused(path: Path) -> None:
    """Whoever uses a WAL database has a shared lock on its file, which an exclusive connection does not get past."""
    if not path.exists():
        return
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:  # any other is of a damaged file, and the reason to restore a backup
            if code_of(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise _in_use(path) from error


def _in_use(path: Path) -> DatabaseUnusable:
    return DatabaseUnusable(f"A process has {path} open: stop the API, every worker and every other command first.")
