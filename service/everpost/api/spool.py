"""Answers that are written faster than the client reads them: they wait in a file of limited size, not in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile

from everpost.errors import DiskFull
from everpost.store.disk_room import DiskRoom

IN_MEMORY_BYTES = 65_536  # more than this goes to the disk
CHUNK_BYTES = 65_536
ALWAYS_BYTES = 1 << 20  # bytes that one answer may always leave unread
MOST_BYTES = 32 << 20  # bytes that it may leave unread while there is room; enough for the answers of 290,000 tasks
MOST_BYTES_OF_ALL = 128 << 20
LOOK_AGAIN_S = 1.0


class Spools:
    """The waiting answers of this process, and the room they have together.

    Args:
        folder: The folder of their files, which have no names.
        room: The room on the folder's disk; the answers leave as much free as new tasks do.
    """

    def __init__(self, folder: Path, room: DiskRoom) -> None:
        self.folder = folder
        self.unread_bytes = 0
        self._room = room
        self._change = asyncio.Event()

    def take(self, size_bytes: int) -> None:
        """Count bytes that now wait."""
        self.unread_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that no longer wait."""
        self.unread_bytes -= size_bytes
        self._change.set()

    def has_room(self, unread_bytes: int, more_bytes: int) -> bool:
        """Whether an answer with `unread_bytes` unread may grow."""
        wanted_bytes = unread_bytes + more_bytes
        if wanted_bytes <= ALWAYS_BYTES:
            return True
        if wanted_bytes > MOST_BYTES or self.unread_bytes + more_bytes > MOST_BYTES_OF_ALL:
            return False
        try:
            self._room.check()
        except DiskFull:
            return False
        return True

    async def wait_for_change(self) -> None:
        """Return when a client has read something, or after a while, because other programs may have freed space."""
        self._change.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                await self._change.wait()


class Spool:
    """A queue of bytes between one writer and one reader: a ring of `MOST_BYTES` in a file.

    A client may send much before it reads anything. At the limit, the writer waits for the reader, and the rest of the
    request stays unread.
    """

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, dir=str(spools.folder))  # noqa: SIM115 - see `close`
        self._read = 0
        self._written = 0
        self._news = asyncio.Event()
        self._is_finished = False

    @property
    def is_empty(self) -> bool:
        """Whether everything written was read."""
        return self._read == self._written

    async def write(self, data: bytes) -> None:
        """Append `data` once there is room for it."""
        for start in range(0, len(data), CHUNK_BYTES):
            part = data[start : start + CHUNK_BYTES]
            while not self._spools.has_room(self._written - self._read, len(part)):
                await self._spools.wait_for_change()
            self._append(part)

    def _append(self, data: bytes) -> None:
        while data:
            position = self._written % MOST_BYTES
            part, data = data[: MOST_BYTES - position], data[MOST_BYTES - position :]
            self._file.seek(position)
            self._file.write(part)
            self._written += len(part)
            self._spools.take(len(part))
        self._news.set()

    def finish(self) -> None:
        """Note that nothing more will be written."""
        self._is_finished = True
        self._news.set()

    async def wait(self) -> None:
        """Wait until there is something to read, or the writer has ended."""
        while self.is_empty and not self._is_finished:
            self._news.clear()
            await self._news.wait()

    async def chunks(self) -> AsyncIterator[bytes]:
        """All data, in order, at most `CHUNK_BYTES` at a time, until the writer has ended."""
        while True:
            await self.wait()
            if self.is_empty:
                return
            yield self._take()

    def _take(self) -> bytes:
        position = self._read % MOST_BYTES
        size_bytes = min(CHUNK_BYTES, self._written - self._read, MOST_BYTES - position)
        self._file.seek(position)
        data: bytes = self._file.read(size_bytes)
        self._read += len(data)
        self._spools.give_back(len(data))
        if self.is_empty:
            self._file.seek(0)
            self._file.truncate()
            self._read = self._written = 0
        return data

    def close(self) -> None:
        """Drop all data."""
        self._file.close()
        self._spools.give_back(self._written - self._read)
        self._read = self._written
