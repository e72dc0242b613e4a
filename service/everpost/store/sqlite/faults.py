"""Faults of a database file: the meaning of SQLite's errors, and whether the file is still the one that was opened."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from everpost.errors import DatabaseBusy, DatabaseDamaged, DatabaseUnusable, DatabaseUnwritable, ServiceError
from everpost.store.sqlite.library import sqlite3

BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
UNWRITABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    }
)
OLD_NS = 3_000_000_000  # longer than any file system's time resolution
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def meaning_of(error: Exception, opening: Path | None = None) -> Exception:
    """The meaning of an SQLite error for the caller (https://sqlite.org/rescode.html); other errors stay unchanged.

    Args:
        opening: The file, if it is just being opened. A file that is not a database then is another program's; later,
            it counts as damaged.
    """
    code = code_of(error) if isinstance(error, sqlite3.Error) else None
    told = str(error) if opening is None else f"{opening}: {error}"
    if code in BUSY:
        meaning: ServiceError = DatabaseBusy()
    elif code in UNWRITABLE:
        meaning = DatabaseUnwritable(told)
    elif code == sqlite3.SQLITE_NOTADB and opening is not None:
        meaning = DatabaseUnusable(
            f"{opening} is not an SQLite database, or is encrypted. Point EVERPOST_DATABASE at the right file, or move "
            "this one away to begin with an empty database."
        )
    elif code in DAMAGED:
        meaning = DatabaseDamaged(told)
    else:
        return error
    meaning.__cause__ = error
    return meaning


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of the system into Everpost's, while the file at `path` is opened or changed.

    Raises:
        DatabaseUnusable: It is not a database, is damaged, or cannot be brought up to date.
        DatabaseUnwritable: The folder or the file cannot be written.
        DatabaseBusy: Another process keeps it locked.
    """
    try:
        yield
    except OSError as error:
        raise DatabaseUnwritable(f"{path}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        meaning = meaning_of(error, path)
        if meaning is error:
            meaning = DatabaseUnusable(f"{path} cannot be brought up to date ({error}). Nothing in it was changed.")
        raise meaning from error


def code_of(error: sqlite3.Error) -> int:
    """The class of the error: the low byte of its code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_undecodable(error: sqlite3.OperationalError) -> bool:
    """Whether a text is not UTF-8, as an inherited row's may be."""
    return "decode" in str(error)


FolderState = tuple[int, int, int]
"""Device, inode, and the time (ns) of the last change in the folder; no program can set that time back."""


class DatabaseFiles:
    """The files of an open database: the database, its log and the log's index.

    SQLite goes on writing to a file that was deleted or replaced, and all of that is lost. While a connection is open,
    the three files stay the same unless another program touches them. They are never opened here, because closing a
    file drops all locks that SQLite has on it.

    The log is not checked after every commit either: Linux gives a file whose times were read a new time at the next
    write, which makes the next flush a third slower. If the folder has not changed, no file was moved.
    """

    def __init__(self, path: Path) -> None:
        """Remember the files; `path` has been opened, and its log exists."""
        beside = os.path.realpath(path)
        self._paths = (str(path), f"{beside}-wal", f"{beside}-shm")
        self._folder = os.path.dirname(beside)  # noqa: PTH120 - as in `_look`
        self._opened = self._look(len(self._paths))
        self.is_saved = False  # while they are missing: everything committed is in the database file
        self._complete: FolderState | None = None  # the folder's state when all of them were last seen

    def check(self) -> None:
        """Check that all of them still exist. Only the database file is looked at while its folder has not changed.

        Raises:
            DatabaseUnusable: One of them is missing.
        """
        folder = self._look_at_folder()
        count = 1 if folder is not None and folder == self._complete else len(self._paths)
        if self._opened is None or self._look(count) != self._opened[:count]:
            self._complete = None
            raise self.missing()
        self._complete = folder

    @property
    def are_there(self) -> bool:
        """Whether `check` finds nothing."""
        try:
            self.check()
        except DatabaseUnusable:
            return False
        return True

    def missing(self) -> DatabaseUnusable:
        """The error for missing files, and what to do."""
        return DatabaseUnusable(
            f"{self._paths[0]}, or its -wal or -shm, was moved, deleted or replaced. Put it back; or {self._advice()}"
        )

    def _advice(self) -> str:
        if not self._has_database():
            return "stop every process, restore a backup and start again."
        if self.is_saved:
            return "stop every process and start again: all that was acknowledged is in the database file."
        return "stop every process with SIGTERM now (SIGKILL would lose what was acknowledged last), and start again."

    def _has_database(self) -> bool:
        return self._opened is not None and self._look(1) == self._opened[:1]

    @property
    def may_be_saved(self) -> bool:
        """Whether the database file is the one that was opened, and no other program has its own log beside it."""
        try:
            log = os.stat(self._paths[1])  # noqa: PTH116 - as in `_look`
        except FileNotFoundError:
            return self._has_database()
        except OSError:
            return False
        is_ours = self._opened is not None and (log.st_dev, log.st_ino) == self._opened[1]
        return self._has_database() and (is_ours or log.st_size == 0)

    def _look(self, count: int) -> list[tuple[int, int]] | None:
        # Each commit looks several times, and a `Path` would take as long as the system call.
        try:
            return [(found.st_dev, found.st_ino) for found in map(os.stat, self._paths[:count])]
        except OSError:
            return None

    def _look_at_folder(self) -> FolderState | None:
        """The folder's state; None if it changed just now, because another change may have the same time."""
        try:
            found = os.stat(self._folder)  # noqa: PTH116 - as in `_look`
        except OSError:
            return None
        is_old = found.st_ctime_ns < time.time_ns() - OLD_NS
        return (found.st_dev, found.st_ino, found.st_ctime_ns) if is_old else None
