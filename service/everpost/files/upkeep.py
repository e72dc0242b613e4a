"""Removes what is no longer needed: expired uploads, files that no task uses, and remains of crashes."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from everpost.clock import DAY_MS, Clock, to_text
from everpost.errors import UploadLocked
from everpost.files.names import OWN_NAME, partial_name
from everpost.files.partial import PartialFile
from everpost.settings import Settings
from everpost.store import Store
from everpost.store.files import FileRecord, Upload

log = structlog.get_logger("everpost.files")

CHUNK = 500
PARTIAL = ".part"
REMAINS_S = 86_400.0  # a part of an upload that the store does not know is removed after this time


class FilesUpkeep:
    """The upkeep of uploaded files; the leader does it. If two processes do it at once, nothing is removed twice."""

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._root = settings.files_root
        self._days = settings.files_days
        self._clock = clock

    async def forget_uses(self) -> int:
        """Note which uses of files have ended; how many, and 0 if none is left."""
        return await self._store.files.forget_uses(to_text(self._clock()), CHUNK)

    async def remove_uploads(self) -> int:
        """Remove uploads that were not continued in time; how many."""
        expired = await self._store.files.take_expired_uploads(to_text(self._clock()), CHUNK)
        for upload in expired:
            await asyncio.to_thread(_remove_named, self._root, upload)
            log.info("upload.expired", file_id=upload.file_id)
        return len(expired)

    async def remove_unused(self) -> int:
        """Remove files that no task has used for `EVERPOST_FILES_DAYS`; how many."""
        if not self._days:
            return 0
        unused = await self._store.files.take_unused(to_text(self._clock() - self._days * DAY_MS), CHUNK)
        for record in unused:
            await asyncio.to_thread(self._remove, record)
            log.info("file.expired", file_id=record.file_id, used_at=record.used_at, created_at=record.created_at)
        return len(unused)

    async def remove_remains(self) -> int:
        """Remove parts of uploads that the store does not know, left by a crash or by an older database."""
        parts = await asyncio.to_thread(lambda: list(_old_parts(self._root)))
        removed = 0
        for path in parts:
            if await self._store.files.find_upload(path.name.removesuffix(PARTIAL)) is None:
                removed += await asyncio.to_thread(_remove_unlocked, path)
        return removed

    def _remove(self, record: FileRecord) -> None:
        (self._root / record.file_path).unlink(missing_ok=True)


def _remove_named(root: Path, upload: Upload) -> None:
    """Remove the part of an upload, and the whole file if the process died before it wrote its record."""
    (root / partial_name(upload.file_id)).unlink(missing_ok=True)
    for path in root.glob(f"{upload.file_id}*"):
        path.unlink(missing_ok=True)


def _old_parts(root: Path) -> Iterator[Path]:
    before_s = time.time() - REMAINS_S  # files are dated by the wall clock
    for path in root.glob(f"*{PARTIAL}"):
        try:
            if OWN_NAME.fullmatch(path.name) and path.lstat().st_mtime < before_s:
                yield path
        except FileNotFoundError:
            continue


def _remove_unlocked(path: Path) -> bool:
    try:
        part = PartialFile.open(path, 0)
    except UploadLocked:
        return False
    part.remove()
    part.close()
    return True
