"""A copy of the database while it is in use: whole, checked, on the disk, and only then under its name."""

import os
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec

from service.errors import DatabaseUnusable
from service.store.migrate import explained
from service.store.sqlite import sqlite3


class Backup(msgspec.Struct, frozen=True):
    """A finished copy."""

    path: Path
    size_bytes: int


def back_up_database(path: Path, target: Path) -> Backup:
    """Copy the database at `path` to the new file `target`, as it is at one moment. Blocks; writers go on.

    Raises:
        DatabaseUnusable: There is no database, `target` exists already, or the copy is damaged.
        DatabaseUnwritable: The target cannot be written, or its disk is full.
    """
    if not path.exists():
        raise DatabaseUnusable(f"There is no database {path}.")
    if target.exists():
        raise DatabaseUnusable(f"{target} exists already; a backup overwrites nothing.")
    partial = target.with_name(f"{target.name}.part")
    with explained(target):
        partial.unlink(missing_ok=True)  # of a backup that was killed
        try:
            _copy(path, partial)
            os.link(partial, target)  # unlike a rename, it replaces nothing
        finally:
            partial.unlink(missing_ok=True)
        _flush(target.absolute().parent)
        return Backup(target, target.stat().st_size)


def _copy(path: Path, partial: Path) -> None:
    with closing(_open_read_only(path)) as source:
        source.execute("VACUUM INTO ?", (str(partial.absolute()),))
    with closing(_open_read_only(partial)) as copy:
        (answer,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if answer != "ok":
        raise DatabaseUnusable(f"The copy is damaged, and so, most likely, is {path}: {answer}.")
    _flush(partial)


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=30)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
