"""Reads that may visit many rows: on their own connections, for a limited time, and only while a caller waits."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiosqlite

from everpost.errors import SearchTimeout
from everpost.store.sqlite.file.connection import Operation, Result, connect, run
from everpost.store.sqlite.library import sqlite3

SEARCHERS = 2  # connections; with more, searches would take the processor from other work
STEPS = 1_000  # instructions of SQLite's virtual machine, about 0.1 ms, between two checks whether to stop


class Searches:
    """Runs searches on connections that no other read waits for; they are opened for the first searches."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places = asyncio.Semaphore(SEARCHERS)
        self._idle: list[aiosqlite.Connection] = []
        self._running: set[Search] = set()

    async def run(self, operation: Operation[Result], within_s: float) -> Result:
        """Run `operation`. It is stopped when its time is over, or when the caller is cancelled.

        Raises:
            SearchTimeout: `within_s` seconds were not enough, including the wait for other searches.
            sqlite3.Error: The operation raised it.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._places.acquire()
                return await self._run(operation)
        except TimeoutError:
            raise SearchTimeout(within_s) from None

    async def _run(self, operation: Operation[Result]) -> Result:
        try:
            connection = self._idle.pop() if self._idle else await connect(self._path, "ro")
        except BaseException:
            self._places.release()
            raise
        search = Search(connection)
        work = search.start(operation)
        self._running.add(search)
        work.add_done_callback(lambda _: self._take_back(search))
        try:
            return await asyncio.shield(work)
        finally:
            search.stop()

    def _take_back(self, search: "Search") -> None:
        self._running.discard(search)
        self._idle.append(search.connection)
        self._places.release()

    async def close(self) -> None:
        """Stop running searches, and close the connections. No search may begin afterwards."""
        for search in self._running:
            search.stop()
        while self._running:
            await asyncio.wait([search.work for search in self._running])
        while self._idle:
            await self._idle.pop().close()


class Search:
    """A running search.

    Attributes:
        connection: Its own until it is done, which may be a moment after it was stopped.
    """

    work: asyncio.Future[Any]

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self.connection = connection
        self._is_stopped = False

    def start(self, operation: Operation[Result]) -> asyncio.Future[Result]:
        """Begin in the connection's thread."""

        def stoppable(raw: sqlite3.Connection) -> Result:
            raw.set_progress_handler(lambda: self._is_stopped, STEPS)
            try:
                return operation(raw)
            finally:
                raw.set_progress_handler(None, 0)
                _end_transaction(raw)

        work = asyncio.ensure_future(run(self.connection, stoppable))
        work.add_done_callback(_look_at_error)
        self.work = work
        return work

    def stop(self) -> None:
        """Make SQLite end the present statement, if there is one, and start no other.

        The flag alone would not stop a full-text query, in which SQLite counts no steps. The interruption alone would
        not stop a search between two statements.
        """
        if not self.work.done():
            self._is_stopped = True
            self.connection._conn.interrupt()  # noqa: SLF001 - aiosqlite's own method must be awaited


def _end_transaction(raw: sqlite3.Connection) -> None:
    """End the transaction here too: the interruption may have hit the statement that should have ended it."""
    while raw.in_transaction:
        with suppress(sqlite3.OperationalError):
            raw.execute("ROLLBACK")


def _look_at_error(work: asyncio.Future[Result]) -> None:
    """Mark the error of a search that was stopped as seen: its caller has gone."""
    with suppress(asyncio.CancelledError):
        work.exception()
