"""Copies large files in threads: no more than allowed, only while there is room, and not a chunk longer than wanted."""

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
BLOCK_BYTES = 512  # what st_blocks counts in: stat(2)

Made = TypeVar("Made")


class StoppedError(Exception):
    """The attempt has ended; nobody waits for this thread's work any more."""


class Lane:
    """A few threads for one kind of blocking work, so that it keeps no other kind waiting."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[threading.Event], Made]) -> Made:
        """Run `work` in a thread; its argument is set once the caller is cancelled, and it has to look at it."""
        stop = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, stop)
        finally:
            stop.set()

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Copier(msgspec.Struct, frozen=True):
    """Copies for one attempt.

    Attributes:
        stop: Set when the attempt has ended.
        most_bytes: The largest file.
        least_free_bytes: What a copy leaves free on its disk.
    """

    stop: threading.Event
    most_bytes: int
    least_free_bytes: int

    def check(self) -> None:
        """To be called between chunks.

        Raises:
            StoppedError: The attempt has ended.
        """
        if self.stop.is_set():
            raise StoppedError

    def copy(self, source: BinaryIO, target: BinaryIO) -> None:
        """Copy what `source` has now; its holes stay holes, so that a sparse file takes no more room than it has.

        Raises:
            InvalidError: It is too large.
            TransientError: There is no room, or it was cut while it was copied.
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
                raise TransientError("The media file was cut while it was copied.")
            written = os.pwrite(target.fileno(), chunk, start)
            start += written

    def _check_room(self, target: BinaryIO, size_bytes: int) -> None:
        """Others write to the same disk meanwhile, so it is asked again at every chunk."""
        disk = os.fstatvfs(target.fileno())
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes < size_bytes + self.least_free_bytes:
            message = f"The disk has {free_bytes:,} bytes free; the media needs {size_bytes:,}"
            raise TransientError(f"{message}, and {self.least_free_bytes:,} stay free.")


def _next_data(source: BinaryIO, position: int) -> int:
    """Where data begins, from `position` on; beyond the file's end if there is none."""
    try:
        return os.lseek(source.fileno(), position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # lseek(2): nothing but a hole up to the end
            return 1 << 62
        return position  # a file system that knows of no holes


def _next_hole(source: BinaryIO, position: int) -> int:
    try:
        return os.lseek(source.fileno(), position, os.SEEK_HOLE)
    except OSError:
        return 1 << 62
