"""A TCP proxy before the platform. It counts requests, and springs a trap at one of them.

It knows no protocol: bytes of the publisher after bytes of the platform are a new request. With TLS, the handshake
counts as one, too.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import cast

CHUNK = 65_536
END_S = 1.0


class Side(Enum):
    """Where a trap is."""

    CONNECTION = "connection"  # a new one
    REQUEST = "request"  # its first bytes
    ANSWER = "answer"  # its first bytes


class Trap:
    """Strikes once: at a connection, or before the first bytes of a request or an answer are passed on.

    Args:
        act: Called then. Afterwards, the connection is cut.
        kept_bytes: How many bytes of an answer are passed on before the cut.
    """

    def __init__(self, side: Side, number: int, act: Callable[[], Awaitable[None]], *, kept_bytes: int = 0) -> None:
        self.side = side
        self.number = number
        self.act = act
        self.kept_bytes = kept_bytes
        self.sprung = asyncio.Event()


class _Link:
    """One connection, and the request that is under way on it."""

    def __init__(self) -> None:
        self.number = 0
        self.is_idle = True


class TrialProxy:
    """Passes bytes between publishers and the platform.

    Attributes:
        connections: How many were opened since `begin`.
        answers: The bytes of each answer since `begin`.
        port: Where publishers connect to, on 127.0.0.1.
    """

    def __init__(self, host: str, port: int) -> None:
        self._platform = (host, port)
        self._trap: Trap | None = None
        self._links: set[_Link] = set()
        self._serves: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.answers: list[int] = []
        self.port = 0

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def begin(self, trap: Trap | None = None) -> None:
        """Count from 1 again, and set a trap."""
        self._trap, self.connections, self.answers = trap, 0, []
        for link in self._links:
            link.is_idle = True

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["TrialProxy"]:
        """Accept connections."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for serve in self._serves:
                serve.cancel()
            if self._serves:
                await asyncio.wait(self._serves, timeout=END_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serve = cast("asyncio.Task[None]", asyncio.current_task())
        self._serves.add(serve)
        serve.add_done_callback(self._serves.discard)
        self.connections += 1
        try:
            if (trap := self._trap_at(Side.CONNECTION, self.connections)) is not None:
                await self._spring(trap, writer)
            else:
                await self._link(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect to the platform, and pass bytes in both directions until one side has closed."""
        platform_reader, platform_writer = await asyncio.open_connection(*self._platform)
        link = _Link()
        self._links.add(link)
        requests = asyncio.create_task(self._pass_requests(link, reader, platform_writer, writer))
        answers = asyncio.create_task(self._pass_answers(link, platform_reader, writer))
        try:
            await asyncio.wait((requests, answers), return_when=asyncio.FIRST_COMPLETED)
            if not writer.is_closing():  # the publisher may still wait for an answer, or read one
                await answers
        finally:
            for one in (requests, answers):
                one.cancel()
            await asyncio.wait((requests, answers))
            platform_writer.transport.abort()
            self._links.discard(link)

    async def _pass_requests(
        self, link: _Link, reader: asyncio.StreamReader, platform: asyncio.StreamWriter, publisher: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if link.is_idle:
                    self.answers.append(0)
                    link.number, link.is_idle = len(self.answers), False
                    if (trap := self._trap_at(Side.REQUEST, link.number)) is not None:
                        await self._spring(trap, publisher)
                        return
                platform.write(data)
                await platform.drain()
            platform.write_eof()

    async def _pass_answers(self, link: _Link, reader: asyncio.StreamReader, publisher: asyncio.StreamWriter) -> None:
        trap: Trap | None = None
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if not link.is_idle:
                    link.is_idle, trap, passed_bytes = True, self._trap_at(Side.ANSWER, link.number), 0
                if self.answers and link.number:
                    self.answers[min(link.number, len(self.answers)) - 1] += len(data)
                if trap is None:
                    publisher.write(data)
                else:
                    publisher.write(data[: trap.kept_bytes - passed_bytes])
                    passed_bytes += len(data)
                    if passed_bytes >= trap.kept_bytes:
                        await self._spring(trap, publisher)
                        return
                await publisher.drain()

    def _trap_at(self, side: Side, number: int) -> Trap | None:
        trap = self._trap
        return trap if trap is not None and (trap.side, trap.number) == (side, number) else None

    async def _spring(self, trap: Trap, publisher: asyncio.StreamWriter) -> None:
        """Let the trap act, then cut the connection. Bytes that were passed on arrive."""
        self._trap = None
        trap.sprung.set()
        await trap.act()
        if trap.kept_bytes:
            publisher.close()
        else:
            publisher.transport.abort()
