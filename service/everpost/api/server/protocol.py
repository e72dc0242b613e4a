"""uvicorn's HTTP/1.1 protocol, with limits on what a client may send before its token is checked."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, cast

import msgspec
from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from everpost.api.events.pushed import CONNECTION
from everpost.api.http.problems import PROBLEM_JSON, problem_of
from everpost.api.server.connections import Connections, Standing
from everpost.api.server.transport import JoinedWrites
from everpost.errors import Unavailable

MOST_HEAD_BYTES = 65_536
MOST_HEADERS = 128
MOST_WAITING = 16  # requests of one connection that wait behind the current one
PIECE_BYTES = 2_048  # bytes parsed at a time; they contain at most 100 requests
MOST_AFTER_A_BAD_HEAD_BYTES = 1_048_576  # bytes that are read and dropped, so that the client sees the answer
FULL_RETRY_S = 5
STREAM_BUFFER_BYTES = 65_536  # in the kernel, for a client that reads slowly; it doubles this
TOO_LONG = "The head of the request is too long."


class _Parser(HttpRequestParser):
    """httptools' parser, changed to read the body of a request that offers an upgrade."""

    def __init__(self, protocol: "HttpProtocol") -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._protocol = protocol

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # uvicorn passes only bytes
        """Parse the data."""
        try:
            super().feed_data(data)
        except HttpParserUpgrade as upgrade:
            if self._protocol.is_offered:
                self._protocol.take_back(data[upgrade.args[0] :])


class _Flow(FlowControl):
    """uvicorn's flow control, which first asks the connection; uvicorn's own resumes reading after every answer."""

    def __init__(self, transport: JoinedWrites, protocol: "HttpProtocol") -> None:
        super().__init__(cast("asyncio.Transport", transport))
        self._protocol = protocol

    def resume_reading(self) -> None:
        """Resume reading, unless enough requests wait."""
        if self.read_paused and self._protocol.may_read():
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with joined answers, and with limits on incoming data.

    A client may offer an upgrade, and a server may ignore the offer (RFC 9110, 7.8). Java's HttpClient offers HTTP/2
    with every request over plain HTTP. httptools then takes everything after the head for the other protocol, so the
    head is parsed again without the offer.

    uvicorn keeps a request's head, and bytes after its body, of any length: 200 MB of header lines took 4 GB. It turns
    everything that one read brings into requests, and reads on after every answer, even if the client does not read: 20
    MB of requests took 1 GB. Here the number of waiting requests is limited, and the rest stays with the client.

    uvicorn closes after a last answer while the client still sends. The system then sends a reset, and the client's
    system drops the answer. So this class reads on for a while and drops the data (RFC 9112, 9.6).

    Attributes:
        is_offered: The current head offers an upgrade, and must be parsed again without the offer.
    """

    is_offered = False
    _writes: JoinedWrites
    _head_bytes = 0  # bytes since the last complete head or body, or part of a body
    _read_bytes = 0
    _unread = b""  # data that waits until fewer requests wait
    _taken_back = b""
    _is_in_body = False
    _is_malformed = False
    _on_lost: Callable[[], None] | None = None  # of a stream

    def __init__(self, *args: Any, connections: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn has the same
        """Begin."""
        self._writes = JoinedWrites(transport, self.loop, self._close)
        super().connection_made(cast("asyncio.Transport", self._writes))
        self.flow = _Flow(self._writes, self)
        self.parser = _Parser(self)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._connections.discard(self)
        self._forget_requests()
        super().connection_lost(exc)
        if self._on_lost is not None:
            self._on_lost()

    def data_received(self, data: bytes) -> None:
        """Parse the data, unless too many requests wait."""
        self._read_bytes += len(data)
        if self._writes.is_ended:
            self._drop()
            return
        self._connections.touch(self)
        if self._unread or len(data) > PIECE_BYTES:
            self._unread += data
            self._read_on()
        else:
            self._read(data)

    def may_read(self) -> bool:
        """Whether more data can be served or kept."""
        return not self._unread and len(self.pipeline) < MOST_WAITING and not self.transport.is_closing()

    def _read_on(self) -> None:
        """Turn the data into requests until enough of them wait."""
        unread, start = self._unread, 0
        while start < len(unread) and len(self.pipeline) < MOST_WAITING and not self.transport.is_closing():
            self._read(unread[start : start + PIECE_BYTES])
            start += PIECE_BYTES
        self._unread = b"" if self.transport.is_closing() else unread[start:]
        if self._unread:
            self.flow.pause_reading()

    def _read(self, data: bytes) -> None:
        """Parse the data. Close the connection if too much of it belongs neither to a complete head nor to a body."""
        self._head_bytes += len(data)
        super().data_received(data)
        while self._taken_back:
            data, self._taken_back = self._taken_back, b""
            super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES or len(self.headers or ()) > MOST_HEADERS:
            self.send_400_response(TOO_LONG)

    def take_back(self, rest: bytes) -> None:
        """Have the current head parsed again without its offer, followed by `rest`."""
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self._taken_back = b"\r\n".join([*lines, b"", rest])
        self.parser = _Parser(self)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self.scope["state"][CONNECTION] = self

    def on_headers_complete(self) -> None:
        """Begin the request."""
        self._head_bytes = 0
        self.is_offered = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if not self.is_offered:
            if len(self.headers) > MOST_HEADERS:
                raise ValueError(TOO_LONG)  # stops the parser
            self._is_in_body = True
            super().on_headers_complete()
            self.headers = []  # ignore lines after a chunked body: trailers are not headers (RFC 9110, 6.5.1)

    def on_message_complete(self) -> None:
        """Tell the handler that the body is complete."""
        self._head_bytes = 0
        if not self.is_offered:
            self._is_in_body = False
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Continue with waiting requests; uvicorn's own timer for the next request is not needed."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._connections.touch(self)
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self._unread:
            self._read_on()
        self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not a request, and close."""
        if not self.transport.is_closing():
            self._is_malformed = True
            super().send_400_response(msg)

    def begin_stream(self, on_lost: Callable[[], None]) -> bool:
        """See `PushedAnswer`."""
        if not self._connections.begin_stream(self):
            return False
        self._on_lost = on_lost
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):  # it is closed
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER_BYTES)
        return True

    def end_stream(self) -> None:
        """See `PushedAnswer`."""
        self._on_lost = None
        self._connections.end_stream(self)

    def push(self, chunk: bytes) -> None:
        """See `PushedAnswer`."""
        self._writes.write_now(chunk)

    def unsent_bytes(self) -> int:
        """See `PushedAnswer`."""
        return 0 if self.transport.is_closing() else self._writes.unsent_bytes()

    def turn_away(self) -> None:
        """Answer that there is no room, and close."""
        body = msgspec.json.encode(problem_of(Unavailable("Too many connections are open.", FULL_RETRY_S), "/"))
        headers = [
            *self.server_state.default_headers,
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % FULL_RETRY_S),
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 503 Service Unavailable", *(b"%s: %s" % header for header in headers), b"", body]
        self._is_malformed = True  # ignore everything that still arrives
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def shutdown(self) -> None:
        """Serve running requests, and accept no more."""
        if self._writes.is_ended:
            self.transport.abort()
        else:
            super().shutdown()

    def _close(self) -> None:
        """Close the connection; if the client may still be sending, close only our half."""
        still_sends = self._is_in_body or self._is_malformed or bool(self.pipeline or self._unread)
        if self._writes.is_ended or not still_sends or self.transport.is_closing():
            self._writes.close_transport()
            return
        self._writes.end()
        self._forget_requests()
        FlowControl.resume_reading(self.flow)
        self._read_bytes = 0

    def _drop(self) -> None:
        """Drop what was read; nothing more is answered."""
        if self._is_malformed and self._read_bytes > MOST_AFTER_A_BAD_HEAD_BYTES:
            self.transport.abort()

    def _forget_requests(self) -> None:
        self._unread = b""
        self.pipeline.clear()

    @property
    def peer(self) -> str:
        """The client's address."""
        return ":".join(map(str, self.transport.get_extra_info("peername", ())[:2]))

    def standing(self) -> Standing:
        """What the connection waits for."""
        if self._writes.unsent_bytes():
            return Standing.ANSWER
        if self._writes.is_ended:
            return Standing.LEAVING
        if getattr(self.cycle, "response_complete", True):  # there is no cycle before the first request
            return Standing.HEAD if self._head_bytes else Standing.IDLE
        if self._on_lost is not None:
            return Standing.STREAM
        is_awaited = self._is_in_body and not self.flow.read_paused
        return Standing.BODY if is_awaited else Standing.SERVED

    def progress(self, standing: Standing) -> object:
        """A value that changes with progress: requests, bytes of a body, or bytes of an answer."""
        if standing in {Standing.IDLE, Standing.HEAD}:
            return self.cycle
        if standing in {Standing.LEAVING, Standing.SERVED, Standing.STREAM}:
            return None
        return self._read_bytes, self._writes.sent_bytes()

    def hang_up(self) -> None:
        """Close at once; unsent data is lost."""
        self.transport.abort()
