"""What uvicorn writes, sent with fewer system calls."""

import asyncio
from typing import Any, cast

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HELD_BYTES = 65_536
MOST_HEAD_BYTES = 65_536


class JoinedWrites:
    """A transport that sends what is written within one turn of the event loop at once.

    uvicorn writes an answer's head and its body apart, and uvloop sends each with a system call of its own, which both
    sides pay for: 8 % of what accepting a task costs here, and a third of what it costs the client.
    """

    __slots__ = ("_held", "_loop", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self.is_closing = transport.is_closing  # asked for every request

    def write(self, data: bytes) -> None:
        """Send it at the end of this turn, or now if it is much."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held += data
        if len(self._held) > MOST_HELD_BYTES:
            self._send()

    def close(self) -> None:
        """Send what is held, then close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Parser(HttpRequestParser):
    """httptools' parser, which reads the body of a request that offers an upgrade, too."""

    def __init__(self, protocol: "JoiningProtocol") -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self._protocol = protocol

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # uvicorn feeds it nothing else
        """Read on."""
        try:
            super().feed_data(data)
        except HttpParserUpgrade as upgrade:
            if self._protocol.is_offered:
                self._protocol.take_back(data[upgrade.args[0] :])


class JoiningProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on such a transport, and with limits to what comes in that is no request.

    An upgrade is for the client to offer and for the server to pass over (RFC 9110, 7.8). Java's HttpClient offers
    HTTP/2 with every request over plain HTTP; httptools takes what follows the head for the other protocol then.

    uvicorn keeps a request's head, and what follows its body, however long: 200 MB of header lines took 4 GB, before
    anybody had asked for a token. It also waits for ever for who sends nothing, half a head, or something else than a
    request behind an answer; with as many connections as a process may have open, nobody else was served.

    Attributes:
        is_offered: The head at hand offers an upgrade, and is to be read again without.
    """

    is_offered = False
    _head_bytes = 0  # since a head was complete, or a part of a body came
    _taken_back = b""
    _next_look: asyncio.TimerHandle | None = None
    _last_idle: object = None  # the request that had been served last, at a look that found none being served

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin."""
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport, self.loop)))
        self.parser = _Parser(self)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._next_look is not None:
            self._next_look.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._next_look = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Hang up where no request has come since the last look, and none is being served."""
        is_idle = getattr(self.cycle, "response_complete", True)  # None before the first
        if is_idle and self.cycle is self._last_idle:
            self.transport.close()
            return
        self._last_idle = self.cycle if is_idle else False
        self._look_later()

    def data_received(self, data: bytes) -> None:
        """Serve it, and hang up where too much of it is neither a whole head nor a body."""
        self._head_bytes += len(data)
        super().data_received(data)
        while self._taken_back:
            data, self._taken_back = self._taken_back, b""
            super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def take_back(self, rest: bytes) -> None:
        """Have the head at hand read again, without its offer, and `rest` behind it."""
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self._taken_back = b"\r\n".join([*lines, b"", rest])
        self.parser = _Parser(self)

    def on_headers_complete(self) -> None:
        """Begin with the request."""
        self._head_bytes = 0
        self.is_offered = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if not self.is_offered:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Tell the handler that the body is whole."""
        if not self.is_offered:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of its body."""
        self._head_bytes = 0
        super().on_body(body)
