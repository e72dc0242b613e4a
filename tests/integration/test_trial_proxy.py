"""The proxy of trials: what it counts is so, and what it cuts arrives exactly so far."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from everpost.testing import eventually
from everpost.testing.trial.proxy import Side, Trap, TrialProxy

ANSWER = b"0123456789"


class Echo:
    """A server that answers every line, and closes after the line `bye`."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.answer = ANSWER

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.lines.append(line)
            writer.write(self.answer)
            await writer.drain()
            if line == b"bye\n":
                break
        writer.close()


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[TrialProxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with TrialProxy(*server.sockets[0].getsockname()[:2]).serving() as proxy:
        yield proxy
    server.close()


@asynccontextmanager
async def connected(proxy: TrialProxy) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """Sends a line and reads the answer, as far as it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)

    async def ask(line: bytes, expected: int = len(ANSWER)) -> bytes:
        writer.write(line)
        try:
            return await reader.readexactly(expected)
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionError:
            return b""

    try:
        yield ask
    finally:
        writer.close()


async def act() -> None:
    """Nothing more than the cut."""


async def test_requests_are_counted_over_all_connections_and_anew_from_each_beginning(proxy: TrialProxy) -> None:
    proxy.begin()
    async with connected(proxy) as ask, connected(proxy) as other:
        assert [await ask(b"a\n"), await other(b"b\n"), await ask(b"c\n")] == [ANSWER] * 3
        assert (proxy.answers, proxy.connections) == ([10, 10, 10], 2)
        proxy.begin()
        assert await ask(b"d\n") == ANSWER
        assert (proxy.answers, proxy.connections) == ([10], 0)


@pytest.mark.parametrize("kept_bytes", [0, 1, 9])
async def test_an_answer_is_cut_after_exactly_the_given_bytes(proxy: TrialProxy, kept_bytes: int) -> None:
    trap = Trap(Side.ANSWER, 2, act, kept_bytes=kept_bytes)
    proxy.begin(trap)
    async with connected(proxy) as ask:
        assert await ask(b"a\n") == ANSWER
        assert not trap.sprung.is_set()
        assert await ask(b"b\n") == ANSWER[:kept_bytes]
    assert trap.sprung.is_set()
    async with connected(proxy) as again:
        assert await again(b"c\n") == ANSWER


async def test_a_request_that_is_cut_does_not_reach_the_platform(proxy: TrialProxy, echo: Echo) -> None:
    acted: list[list[bytes]] = []

    async def note() -> None:
        acted.append(list(echo.lines))

    proxy.begin(Trap(Side.REQUEST, 2, note))
    async with connected(proxy) as ask:
        assert [await ask(b"a\n"), await ask(b"b\n")] == [ANSWER, b""]
    assert (echo.lines, acted) == ([b"a\n"], [[b"a\n"]])


async def test_a_connection_that_is_cut_reaches_no_server(proxy: TrialProxy, echo: Echo) -> None:
    proxy.begin(Trap(Side.CONNECTION, 1, act))
    async with connected(proxy) as ask:
        assert await ask(b"a\n") == b""
    assert echo.lines == []


async def test_a_large_answer_before_the_platform_closes_arrives_whole(proxy: TrialProxy, echo: Echo) -> None:
    echo.answer = bytes(range(256)) * 10_000
    proxy.begin()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"bye\n")
    assert await reader.read(-1) == echo.answer
    assert proxy.answers == [len(echo.answer)]
    writer.close()


async def test_an_answer_that_is_held_back_is_cut_when_the_trap_has_acted(proxy: TrialProxy) -> None:
    is_over = asyncio.Event()

    async def hold() -> None:
        await is_over.wait()

    trap = Trap(Side.ANSWER, 1, hold)
    proxy.begin(trap)
    async with connected(proxy) as ask:
        asking = asyncio.ensure_future(ask(b"a\n"))
        await asyncio.wait_for(trap.sprung.wait(), 5)
        assert not asking.done()
        is_over.set()
        assert await asking == b""

    async def has_ended() -> bool:
        return not proxy._serves

    await eventually(has_ended)
