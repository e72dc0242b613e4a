"""Threads that write uploads to the disk, and what the disk's errors mean to clients."""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from everpost.errors import DiskFull, ServiceError, Unavailable

THREADS = 4  # a slow disk delays uploads only

Result = TypeVar("Result")


class DiskThreads:
    """Runs what blocks on the disk of uploads.

    Args:
        least_free_bytes: Bytes that stay free on the disk.
    """

    def __init__(self, least_free_bytes: int) -> None:
        self._least_free_bytes = least_free_bytes
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="uploads")

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=False)

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    def meaning_of(self, error: BaseException) -> ServiceError | None:
        """The error that a client gets for one of the disk; None if it is another error."""
        if not isinstance(error, OSError):
            return None
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return DiskFull(0, self._least_free_bytes, f"The disk of uploads is full ({error.strerror}).")
        return Unavailable(f"The folder of uploads cannot be written: {error.strerror}.", retry_after_s=5)
