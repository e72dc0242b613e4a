"""A few sessions that callers lend one after the other; they are opened when needed, and dropped with the primary."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from everpost.store.postgresql.link.faults import LinkLost
from everpost.store.postgresql.link.session import Session

LEAST_S = 0.25  # for a connection, even if the caller's time is over


class Server(Protocol):
    """What the sessions lead to: the primary, or a standby."""

    def is_usable(self, session: Session) -> bool:
        """Whether the session still leads there."""

    async def connect(self) -> Session:
        """A new session."""

    def lose(self, session: Session, reason: LinkLost) -> None:
        """Note that this session is lost."""


class Sessions:
    """At most `size` sessions on a server."""

    def __init__(self, server: Server, size: int) -> None:
        self._server = server
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._idle: list[Session] = []
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lent(self, until_s: float = math.inf) -> AsyncIterator[Session]:
        """A session for the caller alone.

        Args:
            until_s: The caller waits for a free session until then (monotonic), and for a connection a moment longer.

        Raises:
            LinkLost: There is no primary now, or the others have not given their sessions back in time.
            DatabaseUnusable: It refuses the login.
        """
        await self._wait_for_free(until_s)
        try:
            session = self._usable() or await self._connect(until_s)
            is_whole = False
            try:
                yield session
                is_whole = True
            except LinkLost as error:
                self._server.lose(session, error)
                raise
            except Exception:
                is_whole = True
                raise
            finally:
                # After a cancelled statement, the session waits for the server's answer to the cancellation.
                if is_whole and self._server.is_usable(session):
                    self._idle.append(session)
                else:
                    self._drop(session)
        finally:
            self._free.release()

    async def _wait_for_free(self, until_s: float) -> None:
        if until_s == math.inf or not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(max(0.0, until_s - time.monotonic())):
                await self._free.acquire()
        except TimeoutError:
            raise LinkLost("no session was free in time", is_of_all=False, is_refusal=True) from None

    async def _connect(self, until_s: float) -> Session:
        try:
            async with asyncio.timeout(None if until_s == math.inf else max(LEAST_S, until_s - time.monotonic())):
                return await self._server.connect()
        except TimeoutError:
            raise LinkLost("no host answers in time") from None

    def _usable(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if self._server.is_usable(session):
                return session
            self._drop(session)
        return None

    def _drop(self, session: Session) -> None:
        """Close it in the background: a server that is frozen does not answer."""
        closing = asyncio.create_task(session.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Wait until all are free, and close them; this can be repeated."""
        for _ in range(self._size):
            await self._free.acquire()
        for _ in range(self._size):
            self._free.release()
        for session in self._idle:
            self._drop(session)
        self._idle.clear()
        if self._closing:
            await asyncio.wait(self._closing)
