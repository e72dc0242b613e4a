"""A stream of refused lines delays no other request, and fills no disk."""

import asyncio
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar.types import Receive, Scope

from everpost.access import ANONYMOUS_ADMIN
from everpost.api import spool
from everpost.api.batch.posted_batch import PostedBatch
from everpost.api.batch.stream import CHUNK_ITEMS, BatchStream
from everpost.api.services import Services
from everpost.api.spool import Spools
from everpost.platforms import Catalogue
from everpost.settings import Settings
from everpost.store.disk_room import DiskRoom
from everpost.task.submission import SubmissionReader
from everpost.testing import eventually

CHUNKS = 20
SENT = 200
HERE = Path(__file__).parent
JUNK = {"type": "http.request", "body": b"1\n" * CHUNK_ITEMS, "more_body": True}
END = {"type": "http.request", "body": b"", "more_body": False}
SCOPE = cast("Scope", {"litestar_app": SimpleNamespace(state={}), "method": "POST", "path": "/"})


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> BatchStream:
    monkeypatch.setattr("everpost.api.batch.stream.count_answer", lambda *_: None)
    services = SimpleNamespace(clock=lambda: 0, settings=Settings(), reader=SubmissionReader(Catalogue.read(None), UTC))
    return BatchStream(PostedBatch(cast("Services", services), ANONYMOUS_ADMIN), Spools(HERE, DiskRoom(HERE, 0)), 1_000)


async def test_between_two_chunks_of_bad_lines_others_have_a_turn(stream: BatchStream) -> None:
    """4 MB of `1` in one body held the event loop for 5 s."""
    whole = {"type": "http.request", "body": b"1\n" * CHUNK_ITEMS * CHUNKS, "more_body": False}
    turns = 0

    async def receive() -> dict[str, Any]:
        return whole

    async def send(_: object) -> None:
        """Read at once."""

    answering = asyncio.create_task(stream(SCOPE, cast("Receive", receive), send))
    while not answering.done():
        await asyncio.sleep(0)
        turns += 1
    await answering
    assert turns > CHUNKS


async def test_no_more_of_a_request_is_read_while_its_answers_are_not(
    stream: BatchStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MOST_BYTES", 1 << 20)
    received, reading = 0, asyncio.Event()
    answer: list[bytes] = []

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += 1
        return JUNK if received <= SENT else END

    async def send(event: Any) -> None:
        if "body" in event:
            await reading.wait()
            answer.append(event["body"])

    answering = asyncio.create_task(stream(SCOPE, cast("Receive", receive), send))
    await eventually(lambda: is_waiting(stream), what="a full spool")
    assert received < 100  # of 28 KB of answers each
    reading.set()
    await answering
    lines = b"".join(answer).splitlines()
    assert len(lines) == SENT * CHUNK_ITEMS + 1
    assert f'"rejected":{SENT * CHUNK_ITEMS},"done":true'.encode() in lines[-1]


async def is_waiting(stream: BatchStream) -> bool:
    waiting: bool = stream._spool._written > spool.MOST_BYTES - spool.CHUNK_BYTES
    return waiting
