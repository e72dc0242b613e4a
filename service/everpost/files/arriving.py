"""Writes to the disk what arrives of an upload; its digest goes along."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from everpost.clock import Clock
from everpost.errors import BodyTooLarge
from everpost.failpoints import failpoint
from everpost.files.digests import Digests
from everpost.files.disk_threads import DiskThreads
from everpost.files.partial import PartialFile
from everpost.files.reserving import Reservations
from everpost.store.files import Upload

WRITE_BYTES = 1 << 20  # bytes that are written and digested in one step of a thread

Chunks = AsyncIterator[bytes]


class Arrivals:
    """Adds to the parts of uploads."""

    def __init__(self, reservations: Reservations, digests: Digests, disk: DiskThreads, clock: Clock) -> None:
        self._reservations = reservations
        self._digests = digests
        self._disk = disk
        self._clock = clock

    async def append(self, upload: Upload, part: PartialFile, chunks: Chunks) -> None:
        """Add all that arrives to the part, also if the client hangs up: it continues there.

        Raises:
            BodyTooLarge: More arrives than the file has, or may have.
            QuotaExceeded, DiskFull, Unavailable: It cannot be kept.
        """
        most_bytes = self._reservations.most_bytes if upload.size_bytes is None else upload.size_bytes
        sha256 = self._digests.take(upload.file_id, part.size_bytes)
        waiting: list[bytes] = []
        size, extend_at_ms = 0, self._next_extension_ms()
        try:
            async for chunk in chunks:
                waiting.append(chunk)
                size += len(chunk)
                if part.size_bytes + size > most_bytes:
                    waiting.clear()
                    raise BodyTooLarge(most_bytes)
                if size >= WRITE_BYTES:
                    data, waiting, size = b"".join(waiting), [], 0
                    await self._write(part, sha256, data)
                    if self._clock() > extend_at_ms:
                        extend_at_ms = self._next_extension_ms()
                        await self._reservations.extend(upload)
        finally:
            if waiting:
                await asyncio.shield(self._write(part, sha256, b"".join(waiting)))
            if sha256 is not None:
                self._digests.keep(upload.file_id, part.size_bytes, sha256)

    def _next_extension_ms(self) -> int:
        return self._clock() + self._reservations.kept_ms // 2

    async def _write(self, part: PartialFile, sha256: Any, data: bytes) -> None:
        def write() -> None:
            failpoint("upload.write")
            part.append(data)
            if sha256 is not None:
                sha256.update(data)

        try:
            await self._disk.run(write)
        except OSError as error:
            raise self._disk.meaning_of(error) or error from error
