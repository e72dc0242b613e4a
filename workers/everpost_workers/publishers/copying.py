"""Copies large files in threads: few at a time, only while the disk has room, and with quick cancellation."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, TypeVar

import msgspec

from everpost.publishing import InvalidError, TransientError
from everpost.publishing.media import too_large

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 512  # the unit of st_blocks: stat(2)

Made = TypeVar("Made")


class StoppedError(Exception):
    """The attempt has ended, so the thread's work is no longer wanted."""


class Lane:
    """A few threads for one kind of blocking work, so that it does not delay other kinds."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[threading.Event], Made]) -> Made:
        """Run `work` in a thread. Its argument is set when the caller is cancelled; `work` must check it."""
        stop = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, stop)
        finally:
            stop.set()

    def close(self) -> None:
        """Start no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Copier(msgspec.Struct, frozen=True):
    """The copies of one attempt.

    Attributes:
        stop: Set when the attempt has ended.
        most_bytes: The largest allowed file.
        least_free_bytes: Bytes that must stay free on the target's disk.
    """

    stop: threading.Event
    most_bytes: int
    least_free_bytes: int

    def check(self) -> None:
        """Call this between chunks.

        Raises:
            StoppedError: The attempt has ended.
        """
        if self.stop.is_set():
            raise StoppedError

    def copy(self, source: BinaryIO, target: BinaryIO) -> None:
        """Copy the content of `source`. A sparse file stays sparse, so the copy takes no more room.

        Raises:
            InvalidError: The file is too large.
            TransientError: The disk has no room, or the file was truncated during the copy.
            StoppedError: The attempt has ended.
        """
        found = os.fstat(source.fileno())
        if found.st_size > self.most_bytes:
            raise InvalidError(too_large(found.st_size, self.most_bytes))
        self._check_room(target, min(found.st_size, found.st_blocks * BLOCK_BYTES))
        position = 0
        while (start := _next_data(source, position)) < found.st_size:
            position = min(_next_hole(source, start), found.st_size)
            self._copy_part(source, target, start, position)
        os.ftruncate(target.fileno(), found.st_size)

    def _copy_part(self, source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
        while start < end:
            self.check()
            self._check_room(target, 0)
            chunk = os.pread(source.fileno(), min(CHUNK_BYTES, end - start), start)
            if not chunk:
                raise TransientError("The media file was truncated while it was copied.")
            written = os.pwrite(target.fileno(), chunk, start)
            start += written

    def _check_room(self, target: BinaryIO, size_bytes: int) -> None:
        """Checked at every chunk, because other programs write to the same disk."""
        disk = os.fstatvfs(target.fileno())
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes < size_bytes + self.least_free_bytes:
            message = f"The disk has {free_bytes:,} bytes free; the media needs {size_bytes:,}"
            raise TransientError(f"{message}, and {self.least_free_bytes:,} stay free.")


def _next_data(source: BinaryIO, position: int) -> int:
    """The position of the next data, from `position` on; beyond the end of the file if no data follows."""
    try:
        return os.lseek(source.fileno(), position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # lseek(2): there is only a hole up to the end
            return 1 << 62
        return position  # the file system does not support holes


def _next_hole(source: BinaryIO, position: int) -> int:
    try:
        return os.lseek(source.fileno(), position, os.SEEK_HOLE)
    except OSError:
        return 1 << 62
