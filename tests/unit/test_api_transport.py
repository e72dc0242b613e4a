"""Joined writes: one system call for an answer, and not a byte lost or out of order."""

import asyncio
from typing import cast

import pytest

from everpost.api.server.transport import MOST_HELD_BYTES, JoinedWrites


class Recorder:
    """A transport that keeps the data it should send."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        if self.is_closed:
            raise RuntimeError("the handler is closed")  # as uvloop says it
        self.sent.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def transport(recorder: Recorder) -> JoinedWrites:
    return JoinedWrites(cast("asyncio.Transport", recorder), asyncio.get_running_loop(), recorder.close)


async def test_writes_of_one_turn_are_sent_at_once(recorder: Recorder, transport: JoinedWrites) -> None:
    transport.write(b"head ")
    transport.write(b"body")
    await asyncio.sleep(0)
    transport.write(b"more")
    await asyncio.sleep(0)
    assert recorder.sent == [b"head body", b"more"]


async def test_much_is_not_held_until_the_end_of_the_turn(recorder: Recorder, transport: JoinedWrites) -> None:
    transport.write(b"head ")
    transport.write(b"x" * MOST_HELD_BYTES)
    assert len(b"".join(recorder.sent)) == MOST_HELD_BYTES + 5
    transport.write(b" end")
    await asyncio.sleep(0)
    assert recorder.sent[-1] == b" end"


async def test_held_data_is_sent_before_the_connection_is_closed(recorder: Recorder, transport: JoinedWrites) -> None:
    transport.write(b"head ")
    transport.write(b"body")
    transport.close()
    assert recorder.sent == [b"head body"]
    assert recorder.is_closed
    await asyncio.sleep(0)
    assert recorder.sent == [b"head body"]


async def test_data_written_after_the_client_hung_up_is_dropped(recorder: Recorder, transport: JoinedWrites) -> None:
    transport.write(b"an answer")
    recorder.close()
    await asyncio.sleep(0)
    transport.write(b"x" * (MOST_HELD_BYTES + 1))
    transport.close()
    assert recorder.sent == []
