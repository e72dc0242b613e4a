"""A server that receives callbacks; a subclass says what it does with each."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self


class CallbackReceiver:
    """An HTTP server on a port of its own.

    Attributes:
        url: Where it receives, once it serves.
    """

    url = ""

    @contextlib.asynccontextmanager
    async def serve(self, host: str = "127.0.0.1") -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._talk, host, 0)
        self.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/hook?a=1"
        try:
            yield self
        finally:
            server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while answer := await self.receive(*await read_request(reader)):
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def receive(self, first_line: str, headers: dict[str, str], body: bytes) -> bytes:
        """The whole answer; b"" cuts the connection."""
        raise NotImplementedError


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """A request's first line, its headers with their names in lower case, and its body."""
    first_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines if line)
    headers = {name.lower(): value for name, _, value in pairs}
    return first_line, headers, await reader.readexactly(int(headers["content-length"]))
