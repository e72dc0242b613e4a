"""Connections that ask too much, send half, or read nothing: they cost little, end, and keep no client out."""

import asyncio
import contextlib
import http.client
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from api_support import NO_REDIS, PUBLISH, Api, serving
from everpost.api.server.descriptors import most_connections, most_open
from everpost.api.server.protocol import MOST_WAITING, PIECE_BYTES
from everpost.children import Child, wait_for_log
from everpost.testing import eventually
from store_kit import kit_of

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
DOCUMENT = b"GET /schema/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST_HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % PUBLISH.encode()
HALF_BODY = POST_HEAD + b"Content-Length: 100\r\n\r\n{"
DESCRIPTORS = 64
MEGABYTE = 1_048_576
RUN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
sys.argv = ["everpost", "api"]
from everpost.cli.__main__ import main
main()
"""


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, None) as served:
        yield served


@pytest_asyncio.fixture
async def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr("everpost.api.server.api_server.STALL_S", 0.4)
    monkeypatch.setattr("everpost.api.server.api_server.LEAVE_S", 0.4)
    async with serving(tmp_path, None) as served:
        yield served


async def is_hung_up(reader: asyncio.StreamReader) -> bool:
    """Whether the server hangs up, with a reset or without, before it has said anything."""
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 10) == b""
    return True


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
    return int(head.split()[1]), await asyncio.wait_for(reader.readexactly(int(length[16:])), 10)


# What one connection may ask for


@pytest.mark.parametrize(("path", "module"), [("/schema", "page"), ("/schema/openapi.json", "frame")])
async def test_the_document_is_rendered_only_once(
    api: Api, path: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await api.client.get(path)).content
    monkeypatch.delattr(f"everpost.api.openapi.{module}.refined")
    assert (await api.client.get(path)).content == first


async def test_a_client_that_sends_much_and_reads_nothing_is_read_no_further_and_answered_in_full(api: Api) -> None:
    request = LIVE.replace(b"/health/live", b"/api/v1/platforms")[:-2] + b"X-Padding: %s\r\n\r\n" % (b"x" * 1_900)
    with socket.socket() as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        small.connect(("127.0.0.1", api.port))
        reader, writer = await asyncio.open_connection(sock=small.dup(), limit=4_096)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 10_000:
            writer.write(request * 100)
            sent += 100
            await asyncio.wait_for(writer.drain(), 1)
    assert sent < 10_000, "what the kernels keep between the two, and no more"
    (connection,) = (one for one in api.connections if one.pipeline)
    assert len(connection.pipeline) <= MOST_WAITING + PIECE_BYTES // len(request)
    assert not connection.may_read()
    for _ in range(sent):
        status, _ = await read_answer(reader)
        assert status == 200
    writer.close()


async def test_requests_sent_together_are_answered_in_order(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    ids = [f"{number:032x}" for number in range(600)]
    writer.write(b"".join(b"GET /api/v1/tasks/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % one.encode() for one in ids))
    for one in ids:
        status, body = await read_answer(reader)
        assert status == 404
        assert one.encode() in body
    writer.close()


async def test_bodies_sent_together_are_each_their_own(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    for number in range(40):
        body = b'{"platform": 1, "account_id": "account-%d", "x": "%s"}' % (number, b"y" * (number * 997 % 5_000))
        writer.write(POST_HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    for _ in range(40):
        assert (await read_answer(reader))[0] == 202
    writer.close()
    accounts = [task.data["account_id"] for task in kit_of(api.settings).tasks()]
    assert accounts == [f"account-{number}" for number in range(40)]


@pytest.mark.parametrize("is_in_pieces", [False, True])
async def test_too_many_header_lines_are_refused(api: Api, is_in_pieces: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    whole = LIVE[:-2] + b"a:b\r\n" * 200 + b"\r\n"
    for piece in (whole[:400], whole[400:]) if is_in_pieces else (whole,):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_lines_behind_a_body_are_no_headers(tmp_path: Path) -> None:
    async with serving(tmp_path, None, token="a secret of twenty") as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        body = b'{"platform": 1, "account_id": "a"}'
        chunked = POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(body), body)
        writer.write(chunked + b"Authorization: Bearer a secret of twenty\r\n\r\n")
        assert (await read_answer(reader))[0] == 401
        writer.write(chunked + b"\r\n")
        assert (await read_answer(reader))[0] == 401, "not a header of the next request either"
        writer.close()
        assert await api.count_tasks() == 0


# An answer while the body still comes


@pytest.mark.parametrize("size", [MEGABYTE * 2, MEGABYTE * 16])
@pytest.mark.parametrize("token", ["", "a secret of twenty"])
async def test_the_answer_to_a_body_that_is_not_read_arrives(tmp_path: Path, size: int, token: str) -> None:
    def post(port: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Connection": "close", "Content-Type": "application/json"}
        connection.request("POST", PUBLISH, b" " * size, headers)
        with contextlib.closing(connection):
            return connection.getresponse().status

    async with serving(tmp_path, None, **{"token": token} if token else {}) as api:
        assert await asyncio.to_thread(post, api.port) == (401 if token else 413)


async def test_a_client_that_never_stops_sending_a_refused_body_is_cut_off(impatient: Api) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
    writer.write(POST_HEAD + b"Connection: close\r\nContent-Length: 99999999999\r\n\r\n")

    async def send_on() -> None:
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()
            await asyncio.sleep(0.01)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send_on(), 10)
    writer.close()


# No progress


async def test_half_a_body_is_hung_up_on_and_logged(impatient: Api) -> None:
    with capture_logs() as lines:
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
        writer.write(HALF_BODY)
        assert await is_hung_up(reader)
        writer.close()
    (line,) = (line for line in lines if line["event"] == "connections.stuck")
    assert (line["waiting_for"], line["count"]) == ("the rest of a body", 1)
    assert line["one_of_them"].startswith("127.0.0.1:")


async def test_half_a_head_is_hung_up_on_and_logged_and_silence_between_requests_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everpost.api.server.api_server.KEEP_ALIVE_S", 0.4)
    chunked = POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
    async with serving(tmp_path, None) as api:
        with capture_logs() as lines:
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(chunked)
            await eventually(lambda: has_begun(api))
            writer.write(b"0\r\n\r\n")
            assert (await read_answer(reader))[0] == 422
            assert await is_hung_up(reader)
            writer.close()
            assert not [line for line in lines if line["event"] == "connections.stuck"]
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(POST_HEAD)
            assert await is_hung_up(reader)
            writer.close()
        (line,) = (line for line in lines if line["event"] == "connections.stuck")
        assert line["waiting_for"] == "the rest of a head"


async def test_an_answer_that_is_not_read_is_given_up_and_logged(impatient: Api) -> None:
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection("127.0.0.1", impatient.port, limit=1)
        writer.write(DOCUMENT * 200)

        async def is_told() -> bool:
            return any(line["event"] == "connections.stuck" for line in lines)

        await eventually(is_told, what="the end of a connection")
        writer.close()
    (line,) = (line for line in lines if line["event"] == "connections.stuck")
    assert line["waiting_for"] == "the client to read its answer"


async def test_a_body_that_comes_slowly_is_taken(impatient: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
    body = b'{"platform": 1, "account_id": "a"}'
    writer.write(POST_HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
    for byte in body[:12]:
        await asyncio.sleep(0.1)  # three times as long as a silence may last, and never silent so long
        writer.write(bytes([byte]))
    writer.write(body[12:])
    assert (await read_answer(reader))[0] == 202
    writer.close()


async def test_an_answer_that_is_read_slowly_is_given_whole(impatient: Api) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        client.settimeout(0)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", impatient.port))
        number = 40
        await loop.sock_sendall(client, DOCUMENT * number)
        whole, length = b"", len((await impatient.client.get("/schema/openapi.json")).content)
        for _ in range(12):
            await asyncio.sleep(0.1)
            whole += await loop.sock_recv(client, 65_536)
        while len(whole) < number * length:
            whole += await asyncio.wait_for(loop.sock_recv(client, MEGABYTE), 10)
    assert whole.count(b"HTTP/1.1 200") == number


async def test_a_long_poll_is_never_cut_off(impatient: Api) -> None:
    task_id = await impatient.publish()
    answer = await impatient.client.get(f"/api/v1/tasks/{task_id}?wait=1.5")
    assert answer.json()["data"]["status"] == "pending"


async def test_a_stop_does_not_wait_long_for_a_silent_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everpost.api.server.api_server.STALL_AT_STOP_S", 0.2)
    async with serving(tmp_path, None) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(HALF_BODY)
        await eventually(lambda: has_begun(api))
        stopping = asyncio.create_task(api.stop())
        assert await is_hung_up(reader)
        await asyncio.wait_for(stopping, 10)
        writer.close()


async def has_begun(api: Api) -> bool:
    return any(one.cycle is not None for one in api.connections)


# No room


async def test_the_connection_that_has_waited_longest_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everpost.api.server.api_server.room_for_connections", lambda: 2)
    async with serving(tmp_path, None) as api:
        task_id = (await api.publish()).encode()
        await api.client.aclose()
        served, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(b"GET /api/v1/tasks/%s?wait=2 HTTP/1.1\r\nHost: localhost\r\n\r\n" % task_id)
        first = await asyncio.open_connection("127.0.0.1", api.port)
        second = await asyncio.open_connection("127.0.0.1", api.port)
        assert await is_hung_up(first[0])
        second[1].write(LIVE)
        assert (await read_answer(second[0]))[0] == 200
        assert (await read_answer(served))[0] == 200
        for one in (writer, first[1], second[1]):
            one.close()


async def test_a_connection_while_all_are_served_gets_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everpost.api.server.api_server.room_for_connections", lambda: 2)
    async with serving(tmp_path, None) as api:
        task_id = (await api.publish()).encode()
        await api.client.aclose()
        waiting = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(2)]
        for _, writer in waiting:
            writer.write(b"GET /api/v1/tasks/%s?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n" % task_id)

        async def both_wait() -> bool:
            return sum(one.cycle is not None for one in api.connections) == 2

        await eventually(both_wait)
        async with httpx.AsyncClient(base_url=api.address) as client:
            answer = await client.get("/health/live")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.json()["code"] == "unavailable"
        for _, writer in waiting:
            writer.close()


@pytest.mark.parametrize(
    ("limit", "used", "most"), [(64, 23, 25), (256, 23, 201), (1_024, 30, 866), (1_048_576, 30, 4_096), (20, 20, 1)]
)
def test_some_descriptors_are_kept_for_files(limit: int, used: int, most: int) -> None:
    assert most_connections(most_open(limit, used)) == most


class Process:
    """An API in a process that may have few descriptors, on the event loop it is served with."""

    def __init__(self, child: Child, log: Path, port: int) -> None:
        self.child = child
        self.log = log
        self.port = port

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        with contextlib.suppress(ConnectionError):  # it made room already
            connection.sendall(sent)
        return connection

    def ask(self, request: bytes = LIVE) -> bytes:
        with self.connect(request) as connection:
            return connection.recv(65_536)

    def memory_mb(self) -> float:
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / MEGABYTE


@pytest_asyncio.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    log = tmp_path / "api.log"
    env = {
        "EVERPOST_REDIS": NO_REDIS,
        "EVERPOST_DATA": str(tmp_path),
        "EVERPOST_PORT": "0",
        "EVERPOST_LOG_FORMAT": "json",
        "PATH": os.environ["PATH"],
    }
    with log.open("wb") as output:
        child = Child([sys.executable, "-c", RUN, str(DESCRIPTORS)], env=env, output=output)
    await wait_for_log(log, b"api.serving", child, 20)
    line = next(line for line in log.read_text().splitlines() if "api.serving" in line)
    port = int(line.partition("http://127.0.0.1:")[2].partition('"')[0])
    yield Process(child, log, port)
    await child.stop()
    assert "Traceback" not in log.read_text()


@contextlib.contextmanager
def opened(process: Process, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(process.connect(sent)) for _ in range(count)]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing", marks=pytest.mark.chaos),
        pytest.param(HALF_BODY[:50], id="half a head", marks=pytest.mark.chaos),
        pytest.param(HALF_BODY, id="half a body"),
    ],
)
async def test_200_connections_at_64_descriptors_keep_no_client_out(process: Process, sent: bytes) -> None:
    def crowd() -> list[bytes]:
        with opened(process, 200, sent):
            return [process.ask()[:15] for _ in range(20)]

    assert await asyncio.to_thread(crowd) == [b"HTTP/1.1 200 OK"] * 20
    await process.child.stop()
    assert '"event": "connections.full"' in process.log.read_text()


@pytest.mark.chaos
async def test_20_mb_of_requests_with_unread_answers_take_no_memory(process: Process) -> None:
    def ask() -> tuple[int, Any]:
        sent = 0
        with process.connect() as connection:
            connection.settimeout(1)
            with contextlib.suppress(TimeoutError):
                while sent < 20 * MEGABYTE:
                    sent += connection.send(LIVE * 2_000)
            return sent, process.ask()[:15]

    before_mb = process.memory_mb()
    sent, answer = await asyncio.to_thread(ask)
    assert answer == b"HTTP/1.1 200 OK"
    assert sent >= MEGABYTE
    assert process.memory_mb() < before_mb + 16
    assert (await asyncio.to_thread(process.ask))[:15] == b"HTTP/1.1 200 OK"
