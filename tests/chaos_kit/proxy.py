"""A TCP proxy before a server that can slow, cut, encrypt or swallow connections."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import cast

CHUNK = 65_536
END_S = 1.0
ACCEPT_TURNS = 10  # of the event loop; asyncio needs about five to accept a connection


class Proxy:
    """Passes bytes between clients and the server at a Unix socket.

    Args:
        tls: Clients must use TLS.

    Attributes:
        latency_s: The delay of each piece of data, in both directions.
    """

    def __init__(self, server_path: Path, *, tls: ssl.SSLContext | None = None) -> None:
        self._server_path = server_path
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._writers: set[asyncio.StreamWriter] = set()
        self._serves: set[asyncio.Task[None]] = set()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._cut_replies_after: int | None = None
        self._cuts_once = False
        self.latency_s = 0.0

    @property
    def address(self) -> str:
        """The address in the form of EVERPOST_REDIS."""
        return f"redis://127.0.0.1:{self.port}/0" if self._tls is None else f"rediss://localhost:{self.port}/0"

    @property
    def port(self) -> int:
        """Where clients connect to, on 127.0.0.1."""
        port: int = self._socket.getsockname()[1]
        return port

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        """Accept connections, even if there is no server behind the proxy."""
        server = await asyncio.start_server(self._serve, sock=self._socket, ssl=self._tls)
        try:
            yield self
        finally:
            self._is_open.set()
            await self._end(server)

    async def _end(self, server: asyncio.Server) -> None:
        """Close every connection, also those that are just being accepted, which asyncio leaves open."""
        server.get_loop().remove_reader(self._socket)
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        server.close()
        deadline = time.monotonic() + END_S
        self.cut()
        while self._serves and time.monotonic() < deadline:  # one that the loop's end cancels is logged as an error
            await asyncio.sleep(0)
            self.cut()

    def cut(self) -> None:
        """Close every connection, even with data in transit."""
        for writer in self._writers:
            writer.transport.abort()

    @contextmanager
    def slow(self, latency_s: float) -> Iterator[None]:
        """Make everything slower for a while."""
        self.latency_s = latency_s
        try:
            yield
        finally:
            self.latency_s = 0.0

    @contextmanager
    def cutting_replies(self, after_bytes: int) -> Iterator[None]:
        """Cut each connection during its next reply: the command was carried out, but the client does not know."""
        self._cut_replies_after = after_bytes
        try:
            yield
        finally:
            self._cut_replies_after = None

    def cut_next_reply(self) -> None:
        """Swallow the next reply, and close its connection; others are served."""
        self._cut_replies_after, self._cuts_once = 0, True

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Accept data and hold it back for a while; it arrives late."""
        self._is_open.clear()
        try:
            yield
        finally:
            self._is_open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serve = cast("asyncio.Task[None]", asyncio.current_task())
        self._serves.add(serve)
        serve.add_done_callback(self._serves.discard)
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self._server_path)
        except OSError:  # there is no server behind the proxy
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, server_writer, is_reply=False))
                both.create_task(self._pass_on(server_reader, writer, is_reply=True))
        finally:
            for end in (writer, server_writer):
                end.transport.abort()
                self._writers.discard(end)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._is_open.wait()
                await asyncio.sleep(self.latency_s)
                if is_reply and self._cut_replies_after is not None:
                    writer.write(data[: self._cut_replies_after])
                    if self._cuts_once:
                        self._cut_replies_after, self._cuts_once = None, False
                    break
                writer.write(data)
                await writer.drain()
        writer.close()
