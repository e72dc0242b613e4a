"""Group commit: what concurrent callers write is committed together, by the thread that owns the connection."""

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

MOST_WRITES = 512  # of one commit
STALLED_S = 2.0  # a commit that takes longer is one whose disk does not answer
LOOK_EVERY_S = 0.25
PAUSE_S = 0.0002  # between two commits: another process's turn to take the lock


class GroupCommits(Generic[Write]):
    """Turns many concurrent `submit` calls into few transactions, one after the other, in order of submission.

    An idle file is written to at once, so grouping adds no latency. A busy one's thread takes all that waits as soon as
    it is free. It does not ask the event loop in between: the loop has other work, and the file would stand idle for a
    third of the time.

    Args:
        commit: Called in the connection's thread; returns one answer or exception for each write, in order. What it
            raises reaches every caller.
        on_stall: Called when a commit has taken longer than `STALLED_S`. What it returns is raised by all that wait
            behind that one and by those that come later, until it ends: nothing of theirs was written. The callers of
            the commit itself wait on, for nobody knows.
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
        self._begun_s: float | None = None  # when the commit under way began
        self._next_look: asyncio.TimerHandle | None = None
        self._waiting: deque[tuple[Write, asyncio.Future[Any]]] = deque()  # whoever takes a write out has it
        self._runner: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    async def submit(self, write: Write) -> Any:
        """Have `write` committed and return its own answer, or raise its own error.

        Cancelling the caller does not take the write out of a commit that has begun.
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
        """How many writes no commit has begun with."""
        return len(self._waiting)

    async def drain(self) -> None:
        """Wait until nothing submitted so far is left."""
        while self._runner is not None:
            await asyncio.wait((self._runner,))

    async def _run(self) -> None:
        try:
            while self._waiting:
                await run(self._connection, self._commit_waiting)
        finally:
            self._runner = None

    def _look(self) -> None:
        """See whether the commit under way is stalled, for as long as there is one."""
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
        """The write that came last, unless the thread has taken it."""
        try:
            return self._waiting.pop()
        except IndexError:
            return None

    def _commit_waiting(self, raw: sqlite3.Connection) -> None:
        while group := self._take():
            self._begun_s = time.monotonic()
            try:
                answers = self._commit(raw, [write for write, _ in group])
            except BaseException as error:  # noqa: BLE001 - each caller raises it in its own place
                answers = [error] * len(group)
            self._begun_s = None
            self._loop.call_soon_threadsafe(give_answers, group, answers)
            if self._waiting:
                time.sleep(PAUSE_S)

    def _take(self) -> list[tuple[Write, asyncio.Future[Any]]]:
        """The next group; a caller that gave up before is not waited on: its write is left out."""
        taken: list[tuple[Write, asyncio.Future[Any]]] = []
        with contextlib.suppress(IndexError):  # none is left
            while len(taken) < MOST_WRITES:
                taken.append(self._waiting.popleft())
        return [(write, future) for write, future in taken if not future.done()]
