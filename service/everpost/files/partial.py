"""The file of an upload that is not complete; every method blocks, except where it says otherwise."""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Self

from everpost.errors import DiskFull, UploadLocked

READ_BYTES = 1 << 20


class PartialFile:
    """The bytes of an upload that have arrived. One request at a time has it open, whatever process serves it.

    Attributes:
        size_bytes: How many bytes have arrived.
    """

    def __init__(self, descriptor: int, path: Path, least_free_bytes: int) -> None:
        self.path = path
        self.size_bytes = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._least_free_bytes = least_free_bytes

    @classmethod
    def open(cls, path: Path, least_free_bytes: int) -> Self:
        """Open the file, or make it.

        Raises:
            UploadLocked: Another request has it open.
        """
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(path, descriptor):
                    return cls(descriptor, path, least_free_bytes)
            except BlockingIOError:
                os.close(descriptor)
                raise UploadLocked from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # another request completed or removed it meanwhile

    def append(self, data: bytes) -> None:
        """Add bytes at the end, all or none.

        Raises:
            DiskFull: The disk would have less than `least_free_bytes` free.
            OSError: The disk fails.
        """
        self.check_room(len(data))
        left = memoryview(data)
        position = self.size_bytes
        try:
            while left:
                written = os.pwrite(self._descriptor, left, position)
                left, position = left[written:], position + written
        except BaseException:
            os.ftruncate(self._descriptor, self.size_bytes)
            raise
        self.size_bytes = position

    def check_room(self, more_bytes: int) -> None:
        """Check that the disk has room for more bytes. Raises the error of `append`."""
        disk = os.fstatvfs(self._descriptor)
        free_bytes = disk.f_bavail * disk.f_frsize
        if self._least_free_bytes and free_bytes < more_bytes + self._least_free_bytes:
            raise DiskFull(free_bytes, self._least_free_bytes, _told(free_bytes, more_bytes, self._least_free_bytes))

    def flush(self) -> int:
        """Have everything on the disk; the time of the last change, in nanoseconds."""
        os.fsync(self._descriptor)
        return os.fstat(self._descriptor).st_mtime_ns

    def head(self, size_bytes: int) -> bytes:
        """The first bytes."""
        return os.pread(self._descriptor, size_bytes, 0)

    def digest(self) -> str:
        """The SHA-256 of everything, read from the disk."""
        sha256 = hashlib.sha256()
        position = 0
        while part := os.pread(self._descriptor, READ_BYTES, position):
            sha256.update(part)
            position += len(part)
        return sha256.hexdigest()

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let other requests open it. This does not block."""
        os.close(self._descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        found, ours = path.lstat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)


def _told(free_bytes: int, more_bytes: int, least_bytes: int) -> str:
    return (
        f"The disk of uploads has {free_bytes:,} bytes free; {more_bytes:,} are needed, and {least_bytes:,} stay free."
    )
