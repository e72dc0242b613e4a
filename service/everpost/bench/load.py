"""The load: many keep-alive HTTP/1.1 connections in a process of their own, as cheap as Python goes.

`python -m everpost.bench.load` reads one `LoadSpec` in msgpack from its standard input and writes one `LoadReport`. It
shares the machine with what is measured, so it parses no more of an answer than it must.
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
        requests: Sent in this order, over and over, each on the first connection that is free.
        count: How many answers are wanted in all.
        expect: What every right answer has in it, status line included.
        id_after: Where in a body an id of `id_digits` characters begins; empty looks for none.
    """

    addresses: Sequence[tuple[str, int]]
    requests: Sequence[bytes]
    count: int
    connections: int
    expect: Sequence[bytes] = (b"HTTP/1.1 202",)
    id_after: bytes = b'"task_id":"'
    id_digits: int = ID_DIGITS


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came back.

    Attributes:
        started_s, finished_s: The first request and the last answer, on the monotonic clock, which processes share.
        waits_s: Of each answer.
        ids: The ids in the right answers.
        wrong: How many answers lacked what was expected; `example` is one of them.
    """

    started_s: float
    finished_s: float
    waits_s: Sequence[float]
    ids: Sequence[str]
    wrong: int = 0
    example: str = ""

    @property
    def took_s(self) -> float:
        """From the first request to the last answer."""
        return self.finished_s - self.started_s


async def run_load(spec: LoadSpec) -> LoadReport:
    """Send it, from a process of its own.

    Raises:
        ProgramFailed: That process failed.
    """
    return await run_program("everpost.bench.load", spec, LoadReport)


class Load:
    """One load under way."""

    def __init__(self, spec: LoadSpec, done: asyncio.Future[None]) -> None:
        self.spec = spec
        self._done = done
        self._sent = 0
        self._waits_s: list[float] = []
        self._ids: list[str] = []
        self._wrong = 0
        self._example = b""

    def next_request(self) -> bytes | None:
        """What to send next; None if all was."""
        if self._sent >= self.spec.count:
            return None
        request = self.spec.requests[self._sent % len(self.spec.requests)]
        self._sent += 1
        return request

    def take_answer(self, answer: bytes, wait_s: float) -> None:
        """Look at an answer."""
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
        """A connection is gone while answers are still wanted."""
        if not self._done.done():
            self._done.set_exception(error)

    def report(self, started_s: float) -> LoadReport:
        """What came back, all answers being there."""
        return LoadReport(
            started_s=started_s,
            finished_s=time.monotonic(),
            waits_s=self._waits_s,
            ids=self._ids,
            wrong=self._wrong,
            example=self._example.decode(errors="replace"),
        )


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its answer, the next request."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._transport: asyncio.Transport
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `send` is called when all connections are there."""
        self._transport = cast("asyncio.Transport", transport)  # of a stream, which uvloop's classes do not say

    def send(self) -> None:
        """Send the next request, if there is one."""
        request = self._load.next_request()
        if request is not None:
            self._sent_s = time.monotonic()
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take the answer once it is whole."""
        answer = self._buffer + data if self._buffer else data
        if not is_whole(answer):
            self._buffer = answer
            return
        self._buffer = b""
        self._load.take_answer(answer, time.monotonic() - self._sent_s)
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so."""
        self._load.fail(exc or ConnectionResetError("The server closed a connection."))


async def send_load(spec: LoadSpec) -> LoadReport:
    """Send it from this process."""
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
