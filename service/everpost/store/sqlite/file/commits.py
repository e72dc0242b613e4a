"""Group commit: the writes of concurrent callers are committed together, by the thread that owns the connection."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import aiosqlite

from everpost.batcher import give_answers
from everpost.store.sqlite.file.connection import run
from everpost.store.sqlite.library import sqlite3

Write = TypeVar("Write")

MOST_WRITES = 512  # in one commit
STALLED_S = 2.0  # if a commit takes longer, its disk does not answer
LOOK_EVERY_S = 0.25
PAUSE_S = 0.0002  # between two commits, so that another process can take the lock


class GroupCommits(Generic[Write]):
    """Turns many concurrent `submit` calls into few transactions, one after the other, in the order of submission.

    An idle file is written to at once, so grouping adds no latency. When the thread becomes free, it takes all waiting
    writes. It does not ask the event loop in between: the loop has other work, and the file would be idle for a third
    of the time.

    Args:
        commit: Called in the connection's thread; returns one answer or exception for each write, in order. If it
            raises, every caller gets that exception.
        on_stall: Called when a commit has taken longer than `STALLED_S`. Until that commit ends, all waiting and new
            callers get the exception it returns; nothing of theirs was written. The callers of the commit itself keep
            waiting, because their outcome is unknown.
    """

    def __init__(
        self,
        connection: aiosqlite.Connection,
        commit: Callable[[sqlite3.Connection, Sequence[Write]], Sequence[Any]],
        on_stall: Callable[[], Exception],
    ) -> None:
        self._connection = connection
        self._commit = commit
        self._on_stall = on_stall
        self._begun_s: float | None = None  # when the running commit began
        self._next_look: asyncio.TimerHandle | None = None
        self._waiting: deque[tuple[Write, asyncio.Future[Any]]] = (
            deque()
        )  # a write belongs to the thread that has taken it out
        self._runner: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    async def submit(self, write: Write) -> Any:
        """Have `write` committed, and return its answer or raise its error.

        Cancelling the caller does not remove the write from a commit that has begun.
        """
        if self._runner is None:
            self._loop = asyncio.get_running_loop()
            self._runner = self._loop.create_task(self._run())
            if self._next_look is None:
                self._next_look = self._loop.call_later(LOOK_EVERY_S, self._look)
        elif self._is_stalled():
            raise self._on_stall()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((write, future))
        return await future

    @property
    def waiting(self) -> int:
        """The number of writes that are not part of a commit yet."""
        return len(self._waiting)

    async def drain(self) -> None:
        """Wait until all submitted writes are done."""
        while self._runner is not None:
            await asyncio.wait((self._runner,))

    async def _run(self) -> None:
        try:
            while self._waiting:
                await run(self._connection, self._commit_waiting)
        finally:
            self._runner = None

    def _look(self) -> None:
        """Check whether the running commit is stalled, for as long as there is one."""
        if self._runner is None:
            self._next_look = None
            return
        if self._is_stalled():
            error = self._on_stall()
            while (write := self._pop()) is not None:
                give_answers([write], [error])
        self._next_look = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _is_stalled(self) -> bool:
        begun_s = self._begun_s
        return begun_s is not None and time.monotonic() - begun_s > STALLED_S

    def _pop(self) -> tuple[Write, asyncio.Future[Any]] | None:
        """The newest write, unless the thread has taken it."""
        try:
            return self._waiting.pop()
        except IndexError:
            return None

    def _commit_waiting(self, raw: sqlite3.Connection) -> None:
        while group := self._take():
            self._begun_s = time.monotonic()
            try:
                answers = self._commit(raw, [write for write, _ in group])
            except BaseException as error:  # noqa: BLE001 - each caller raises it itself
                answers = [error] * len(group)
            self._begun_s = None
            self._loop.call_soon_threadsafe(give_answers, group, answers)
            if self._waiting:
                time.sleep(PAUSE_S)

    def _take(self) -> list[tuple[Write, asyncio.Future[Any]]]:
        """The next group. If a caller gave up before, its write is left out."""
        taken: list[tuple[Write, asyncio.Future[Any]]] = []
        with contextlib.suppress(IndexError):  # the queue is empty
            while len(taken) < MOST_WRITES:
                taken.append(self._waiting.popleft())
        return [(write, future) for write, future in taken if not future.done()]
