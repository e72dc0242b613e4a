"""What tests of publishers use: media, a small HTTP server, and a proxy that cuts connections."""

import asyncio
import base64
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec

from everpost.publishing import Media, PublishError
from everpost.publishing.raised import declared_class_of
from everpost.task.model import ErrorClass
from everpost.testing import Stack


class Request(msgspec.Struct):
    """A request, as a double gets it. The names of `headers` are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    def form(self) -> list[tuple[str, str]]:
        """The body as form data."""
        return parse_qsl(self.body.decode(), keep_blank_values=True)

    def parts(self) -> dict[str, bytes]:
        """The parts of a multipart form, by name."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        found: dict[str, bytes] = {}
        for part in self.body.split(b"--" + boundary)[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]+)"', head)
            assert name is not None
            found[name[1].decode()] = content.removesuffix(b"\r\n")
        return found


class Response(msgspec.Struct):
    """An answer. `value` is sent as JSON; `delay_s` makes it late; `hangs_up` closes the connection instead."""

    status: int = 200
    value: Any = None
    headers: Mapping[str, str] = {}
    delay_s: float = 0.0
    hangs_up: bool = False


Handler = Callable[[Request], Response | Awaitable[Response]]


class HttpDouble:
    """An HTTP server on a free port of 127.0.0.1, which keeps the requests.

    Attributes:
        faults: The next answers to requests whose path contains the key; each is given once, before the handler is
            asked.
        holds: Requests whose path or query contains the key are carried out once its event is set.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.requests: list[Request] = []
        self.faults: dict[str, list[Response]] = {}
        self.holds: dict[str, asyncio.Event] = {}
        self.port = 0

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        """Method and path of each request."""
        return [f"{request.method} {request.path}" for request in self.requests]

    def fail_next(self, path: str, *responses: Response) -> None:
        """Give these answers to the next requests whose path contains `path`."""
        self.faults.setdefault(path, []).extend(responses)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["HttpDouble"]:
        serving: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = cast("asyncio.Task[None]", asyncio.current_task())
            serving.add(task)
            task.add_done_callback(serving.discard)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await self._answer(await _read_request(reader), writer)
            writer.transport.abort()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in serving:
                task.cancel()
            if serving:
                await asyncio.wait(serving)

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        for part, release in self.holds.items():
            if part in request.path or part in request.query.values():
                await release.wait()
        queue = next((queue for path, queue in self.faults.items() if path in request.path and queue), None)
        made = queue.pop(0) if queue else self._handler(request)
        response = made if isinstance(made, Response) else await made
        if response.delay_s:
            await asyncio.sleep(response.delay_s)
        if response.hangs_up:
            raise ConnectionAbortedError
        body = b"" if response.value is None else msgspec.json.encode(response.value)
        lines = [f"HTTP/1.1 {response.status} x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.rstrip().split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    parts = urlsplit(target)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, parts.path, dict(parse_qsl(parts.query)), headers, body)


class CuttingProxy:
    """Passes bytes between clients and a server on 127.0.0.1, and breaks every connection after a number of bytes.

    Attributes:
        passed: The bytes that went through, in both directions, since `cut_after`.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._left: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serves: set[asyncio.Task[None]] = set()
        self.passed = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def cut_after(self, size_bytes: int | None) -> None:
        """Let so many more bytes through, then break all connections until this is called again; None never breaks."""
        self._cut()
        self._left, self.passed = size_bytes, 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["CuttingProxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self._cut()
            if self._serves:
                await asyncio.wait(self._serves)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._left == 0:
            self._cut()
            return
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._serves.add(task)
        task.add_done_callback(self._serves.discard)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers.add(server_writer)
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass_on(reader, server_writer), self._pass_on(server_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self._left is None:
                self.passed += len(data)
                writer.write(data)
                continue
            part = data[: self._left]
            self._left -= len(part)
            self.passed += len(part)
            writer.write(part)
            if not self._left:
                writer.close()  # what was let through arrives; an abort could throw it away
                self._writers.discard(writer)
                self._cut()
                return
        writer.close()


def register(credential: str, account_id: str = "alice.test") -> Callable[[Stack], Awaitable[None]]:
    """Registers an account of a trial's platform, whose credential is in EVERPOST_ACCOUNT_TRIAL."""

    async def prepare(stack: Stack) -> None:
        references = {credential: "env:EVERPOST_ACCOUNT_TRIAL"}
        account = {"platform": "trial", "account_id": account_id, "credentials": references}
        answer = await stack.client.post("/api/v1/accounts", json=account)
        assert answer.is_success, answer.text

    return prepare


def new_key() -> str:
    """A key for stored tokens."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


async def error_from(publishing: Awaitable[object]) -> PublishError | None:
    """The error that an attempt ends with; None if it succeeds."""
    try:
        await publishing
    except PublishError as error:
        return error
    return None


async def failure_of(publishing: Awaitable[object], expected: type[PublishError], secret: str) -> PublishError:
    """The error of an attempt that fails: exactly of this class, and without the account's secret."""
    error = await error_from(publishing)
    assert type(error) is expected, error
    assert secret not in str(error)
    return error


async def cut_at_each(
    proxy: CuttingProxy, whole: Awaitable[object], cut_once: Callable[[int], Awaitable[None]], step: int
) -> None:
    """Call `cut_once` for every so many bytes of the whole exchange."""
    proxy.cut_after(None)
    await whole
    length = proxy.passed
    assert length > 1_000
    for cut in range(0, length, step):
        await cut_once(cut)


async def error_of_cut(
    proxy: CuttingProxy, cut: int, publishing: Awaitable[object], is_posted: Callable[[], bool]
) -> PublishError | None:
    """The error of an attempt whose connection breaks after so many bytes: one that may be tried again.

    It is transient only if nothing was posted. Afterwards, connections are whole again.
    """
    proxy.cut_after(cut)
    error = await error_from(publishing)
    if error is not None:
        error_class = declared_class_of(error)
        assert error_class in {ErrorClass.TRANSIENT, ErrorClass.UNKNOWN}, (cut, error)
        assert error_class is ErrorClass.UNKNOWN or not is_posted(), (cut, error)
        proxy.cut_after(None)
    return error


def media_file(folder: Path, name: str, content: bytes, content_type: str, **more: Any) -> Media:
    """A media file with this content."""
    path = folder / name
    path.write_bytes(content)
    return Media(path=path, size_bytes=len(content), filename=name, content_type=content_type, root=folder, **more)
