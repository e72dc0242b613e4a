"""The load generator: many keep-alive HTTP/1.1 connections in a separate process, as cheap as Python allows.

`python -m everpost.bench.load` reads one `LoadSpec` in msgpack from its standard input and writes one `LoadReport`. It
shares the machine with the measured processes, so it parses as little of an answer as possible.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

import msgspec
import uvloop

from everpost.bench.answers import is_whole
from everpost.bench.programs import read_question, run_program, write_answer

ID_DIGITS = 32


class LoadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to send.

    Attributes:
        addresses: (host, port) of each server; the connections are spread over them.
        requests: Sent in this order, repeatedly, each on the first free connection.
        count: The total number of answers wanted.
        expect: Bytes that every right answer contains, status line included.
        id_after: The text after which an id of `id_digits` characters begins; empty if the body has no id.
    """

    addresses: Sequence[tuple[str, int]]
    requests: Sequence[bytes]
    count: int
    connections: int
    expect: Sequence[bytes] = (b"HTTP/1.1 202",)
    id_after: bytes = b'"task_id":"'
    id_digits: int = ID_DIGITS


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """The results.

    Attributes:
        started_s, finished_s: The first request and the last answer, on the monotonic clock, which processes share.
        waits_s: The wait for each answer.
        ids: The ids in the right answers.
        wrong: The number of answers without the expected bytes; `example` is one of them.
    """

    started_s: float
    finished_s: float
    waits_s: Sequence[float]
    ids: Sequence[str]
    wrong: int = 0
    example: str = ""

    @property
    def took_s(self) -> float:
        """Seconds from the first request to the last answer."""
        return self.finished_s - self.started_s


async def run_load(spec: LoadSpec) -> LoadReport:
    """Send the load from a separate process.

    Raises:
        ProgramFailed: That process failed.
    """
    return await run_program("everpost.bench.load", spec, LoadReport)


class Load:
    """A running load."""

    def __init__(self, spec: LoadSpec, done: asyncio.Future[None]) -> None:
        self.spec = spec
        self._done = done
        self._sent = 0
        self._waits_s: list[float] = []
        self._ids: list[str] = []
        self._wrong = 0
        self._example = b""

    def next_request(self) -> bytes | None:
        """The next request to send; None if all are sent."""
        if self._sent >= self.spec.count:
            return None
        request = self.spec.requests[self._sent % len(self.spec.requests)]
        self._sent += 1
        return request

    def take_answer(self, answer: bytes, wait_s: float) -> None:
        """Count an answer."""
        self._waits_s.append(wait_s)
        if all(part in answer for part in self.spec.expect):
            if self.spec.id_after:
                start = answer.find(self.spec.id_after) + len(self.spec.id_after)
                self._ids.append(answer[start : start + self.spec.id_digits].decode())
        else:
            self._wrong += 1
            self._example = answer
        if len(self._waits_s) == self.spec.count:
            self._done.set_result(None)

    def fail(self, error: Exception) -> None:
        """End the load, because a connection broke while answers are missing."""
        if not self._done.done():
            self._done.set_exception(error)

    def report(self, started_s: float) -> LoadReport:
        """The results, once all answers have arrived."""
        return LoadReport(
            started_s=started_s,
            finished_s=time.monotonic(),
            waits_s=self._waits_s,
            ids=self._ids,
            wrong=self._wrong,
            example=self._example.decode(errors="replace"),
        )


class Connection(asyncio.Protocol):
    """A keep-alive connection: a request, its answer, the next request."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._transport: asyncio.Transport
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `send` is called when all connections are open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's classes do not declare that it is a stream

    def send(self) -> None:
        """Send the next request, if there is one."""
        request = self._load.next_request()
        if request is not None:
            self._sent_s = time.monotonic()
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Process the answer once it is complete."""
        answer = self._buffer + data if self._buffer else data
        if not is_whole(answer):
            self._buffer = answer
            return
        self._buffer = b""
        self._load.take_answer(answer, time.monotonic() - self._sent_s)
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the broken connection."""
        self._load.fail(exc or ConnectionResetError("The server closed a connection."))


async def send_load(spec: LoadSpec) -> LoadReport:
    """Send the load from this process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    load = Load(spec, done)
    connections: list[Connection] = []
    for number in range(spec.connections):
        host, port = spec.addresses[number % len(spec.addresses)]
        _, connection = await loop.create_connection(lambda: Connection(load), host, port)
        connections.append(connection)
    started_s = time.monotonic()
    for connection in connections:
        connection.send()
    await done
    return load.report(started_s)


if __name__ == "__main__":
    write_answer(uvloop.run(send_load(read_question(LoadSpec))))
