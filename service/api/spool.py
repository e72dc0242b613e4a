"""Answers that were given faster than the client reads them: they wait in a file, not in memory."""

import asyncio
from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile

IN_MEMORY_BYTES = 1_048_576  # more goes to the disk
CHUNK_BYTES = 65_536


class Spool:
    """A queue of bytes between one writer and one reader. Neither waits for the other, so no client can stop both."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - `close` closes it
        self._read_at = 0
        self._size = 0
        self._news = asyncio.Event()
        self._is_finished = False

    @property
    def is_empty(self) -> bool:
        """Whether everything written was read."""
        return self._read_at == self._size

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._file.seek(self._size)
        self._file.write(data)
        self._size += len(data)
        self._news.set()

    def finish(self) -> None:
        """Nothing more will be written."""
        self._is_finished = True
        self._news.set()

    async def wait(self) -> None:
        """Wait until there is something to read, or never will be."""
        while self.is_empty and not self._is_finished:
            self._news.clear()
            await self._news.wait()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What was and will be written, in order, at most `CHUNK_BYTES` at a time."""
        while True:
            await self.wait()
            if self.is_empty:
                return
            self._file.seek(self._read_at)
            data = self._file.read(CHUNK_BYTES)
            self._read_at += len(data)
            self._start_over_if_empty()
            yield data

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def _start_over_if_empty(self) -> None:
        if self.is_empty:
            self._file.seek(0)
            self._file.truncate()
            self._read_at = self._size = 0
