"""File modes: only Everpost's user may read its files, and a group if a person opened the data folder to it."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import structlog

from everpost.settings import Settings

log = structlog.get_logger("everpost.files")

OTHERS = 0o007
GROUP = 0o070
GROUP_WRITES = 0o020
MADE_BY_US = ("up.lock", "everpost.db", "valkey")  # every used data folder contains one of them
IN_DATA = ("valkey", "media", "published", "uploads")


def private_mode(mode: int) -> int:
    """The permission bits of a file or folder, without those that only a umask gave.

    Other users lose all bits. The group keeps its bits if it may write, or if other users have none: the usual umask
    022 makes 0755 and 0644, so a person must have set such a mode.
    """
    is_meant = mode & GROUP_WRITES or not mode & OTHERS
    return mode & 0o7777 & ~OTHERS & ~(0 if is_meant else GROUP)


def umask_of(folder_mode: int) -> int:
    """The umask that makes new files accessible only to those who can access the folder."""
    return OTHERS | (GROUP & ~folder_mode)


def close_to_others(settings: Settings) -> None:
    """Make the data folder, or tighten it and its content, and set this process's umask.

    A folder that Everpost has not used before keeps its mode: other programs may use it too.
    """
    data = settings.data
    if not data.exists():
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.umask(umask_of(private_mode(data.stat().st_mode)))
    if is_data_folder(data):
        for path in (data.resolve(), *(data / name for name in IN_DATA)):
            tighten(path)
    for path in database_files(settings.database_path):
        tighten(path)


def is_data_folder(folder: Path) -> bool:
    """Whether Everpost has used the folder, and it is not a shared one such as the home folder."""
    shared = {Path.home(), Path.cwd(), Path(tempfile.gettempdir()), Path("/")}
    return folder.resolve() not in shared and any((folder / name).exists() for name in MADE_BY_US)


def database_files(database: Path) -> Iterator[Path]:
    """The database file and the files beside it that begin with its name: log, index, copies made before a change."""
    if database.parent.is_dir():
        yield from sorted(path for path in database.parent.iterdir() if path.name.startswith(database.name))


def new_file_mode(folder: Path) -> int:
    """The mode of a new file in a folder: for the user, and for the group if the folder is open to it."""
    return 0o600 | (private_mode(folder.stat().st_mode) & 0o060)


def tighten(path: Path) -> None:
    """Set a file or folder to its `private_mode`. Links are not followed; a failure is logged."""
    try:
        found = path.lstat()
        wanted = private_mode(found.st_mode)
        if wanted == stat.S_IMODE(found.st_mode) or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return
        path.chmod(wanted)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("files.open_to_others", path=str(path), error=error.strerror)


def open_to_others(settings: Settings) -> list[Path]:
    """The parts of the data folder and of the database that other users may read."""
    if _is_closed(settings.data) and settings.database is None:
        return []
    in_data = [] if _is_closed(settings.data) else [settings.data, *(settings.data / name for name in IN_DATA)]
    places = [*in_data, *database_files(settings.database_path)]
    return [place for place in places if place.exists() and not _is_closed(place)]


def _is_closed(path: Path) -> bool:
    try:
        return not path.stat().st_mode & OTHERS
    except OSError:
        return True
