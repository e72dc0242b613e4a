"""Makes new files that get their names once they are whole, and removes those that killed processes left unfinished."""

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from everpost.errors import DatabaseUnusable
from everpost.log_fields import as_event
from everpost.private_files import private_mode
from everpost.store.sqlite.schema.adopt import remove_with_side_files

ABANDONED_S = 60.0  # a younger copy may not be locked yet
PARTIAL = ".everpost-part"  # no other program uses this name; a lock tells whether Everpost is making the file

logger = logging.getLogger("everpost.store")


@contextmanager
def new_file(target: Path, *, source: Path, like: Path) -> Iterator[Path]:
    """An empty file beside `target`, which the caller fills from `source` and renames; else it is removed.

    It has the owner, the group and the mode of `like`, without the rights that `private_mode` removes.

    Raises:
        DatabaseUnusable: Another process makes the same file, or has just made it; or `source` has its name.
    """
    partial = target.with_name(f"{target.name}{PARTIAL}")
    if partial.exists() and partial.samefile(source):
        raise DatabaseUnusable(f"{partial} is what an unfinished {target} is called: give it another name first.")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, partial, like)
        try:
            yield partial
        finally:
            remove_with_side_files(partial)
    finally:
        os.close(descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove unfinished copies from a folder: files of our name that no process has locked."""
    for partial in folder.iterdir() if folder.is_dir() else ():
        if partial.name.endswith(PARTIAL) and _is_abandoned(partial):
            remove_with_side_files(partial)
            logger.info("backup.abandoned_removed", extra=as_event(path=str(partial)))


def _is_abandoned(partial: Path) -> bool:
    try:
        found = partial.lstat()
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if not is_ours or time.time() - found.st_mtime < ABANDONED_S:  # closing a file drops SQLite's locks on it
            return False
        descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(found, partial.stat())  # else it has got its final name
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _take(descriptor: int, partial: Path, like: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_still_there = os.path.samestat(os.fstat(descriptor), partial.stat())
    except (BlockingIOError, FileNotFoundError):
        is_still_there = False
    if not is_still_there:  # by now it may have its final name: then it must not be emptied
        raise DatabaseUnusable(f"Another process is making {partial.with_suffix('')} just now.")
    os.ftruncate(descriptor, 0)  # a killed process has left it
    model = like.stat()
    os.fchmod(descriptor, private_mode(model.st_mode) & 0o666)
    with suppress(PermissionError):  # only root may change an owner
        os.fchown(descriptor, model.st_uid, model.st_gid)
