"""Registers a folder as a media root: every file in it gets a record, and stays where it is."""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path

import msgspec

from everpost.clock import Clock, to_text
from everpost.files.kinds import HEAD_BYTES, kind_of
from everpost.files.names import clean_name
from everpost.files.probing import Prober
from everpost.publishing.errors import PublishError
from everpost.publishing.media import open_under
from everpost.store.files import FileRecord, Files
from everpost.task.model import new_task_id

CHUNK = 500
READ_BYTES = 1 << 20


class Step(StrEnum):
    """What was done about a file of the folder."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNREADABLE = "unreadable"


class Scanned(msgspec.Struct, frozen=True):
    """A file of the folder; None as `record` if it cannot be read."""

    step: Step
    file_path: str
    record: FileRecord | None


async def scan_folder(files: Files, name: str, folder: Path, clock: Clock) -> AsyncIterator[Scanned]:
    """Register a folder, and bring the records of its files up to date. Hidden files and links are passed over.

    A file that has the same size and time of change as before is not read again. A changed file keeps its id.

    Raises:
        OSError: The folder cannot be read.
    """
    os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    await files.set_root(name, str(folder))
    prober = Prober()
    paths = _files_below(folder)
    while some := await asyncio.to_thread(lambda: list(islice(paths, CHUNK))):
        known = await files.find_placed(name, some)
        for file_path in some:
            yield await _scan(files, name, folder, file_path, known.get(file_path), clock, prober)


async def _scan(
    files: Files, name: str, folder: Path, file_path: str, known: FileRecord | None, clock: Clock, prober: Prober
) -> Scanned:
    try:
        found = (folder / file_path).lstat()
        if known is not None and (known.size_bytes, known.changed_ns) == (found.st_size, found.st_mtime_ns):
            return Scanned(Step.UNCHANGED, file_path, known)
        read = await asyncio.to_thread(_read, folder, file_path)
    except (OSError, PublishError):
        return Scanned(Step.UNREADABLE, file_path, None)
    now_ms = clock()
    facts = await prober.facts_of(folder / file_path, read.content_type or "")
    record = msgspec.structs.replace(
        read,
        file_id=new_task_id(now_ms),
        root=name,
        created_at=to_text(now_ms),
        width=facts.width,
        height=facts.height,
        duration=facts.duration_s,
    )
    return Scanned(Step.ADDED if known is None else Step.CHANGED, file_path, await files.keep(record))


def _read(folder: Path, file_path: str) -> FileRecord:
    """What the content says; the other values are not set."""
    sha256 = hashlib.sha256()
    with open_under(folder, file_path, "the folder") as file:
        head = file.read(HEAD_BYTES)
        sha256.update(head)
        while part := file.read(READ_BYTES):
            sha256.update(part)
        found = os.fstat(file.fileno())
    filename = clean_name(file_path)
    return FileRecord(
        file_id="",
        file_path=file_path,
        filename=filename,
        size_bytes=found.st_size,
        sha256=sha256.hexdigest(),
        content_type=kind_of(head, filename).content_type,
        changed_ns=found.st_mtime_ns,
    )


def _files_below(folder: Path) -> Iterator[str]:
    """The paths of regular files, relative to the folder."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and _is_utf8(str(path)) and _is_regular(path):
                yield str(path.relative_to(folder))


def _is_utf8(text: str) -> bool:
    return text.encode("utf-8", "surrogateescape") == text.encode("utf-8", "replace")


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
