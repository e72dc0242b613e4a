"""The spool: everything comes out once and in order, and the waiting bytes are limited."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.api import spool as limits
from everpost.api.spool import CHUNK_BYTES, IN_MEMORY_BYTES, Spool, Spools
from everpost.store.disk_room import DiskRoom
from everpost.testing import eventually

HERE = Path(__file__).parent


def spools(*, least_free: int = 0) -> Spools:
    return Spools(HERE, DiskRoom(HERE, least_free))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches: 10 bytes for any answer, 100 for one, 250 for all."""
    for name, size in (("ALWAYS_BYTES", 10), ("MOST_BYTES", 100), ("MOST_BYTES_OF_ALL", 250), ("CHUNK_BYTES", 7)):
        monkeypatch.setattr(limits, name, size)


async def read_all(spool: Spool) -> bytes:
    return b"".join([chunk async for chunk in spool.chunks()])


async def test_a_reader_that_comes_late_gets_everything_in_order() -> None:
    spool = Spool(spools())
    line = b"0123456789abcde\n"
    for _ in range(3 * IN_MEMORY_BYTES // len(line)):
        await spool.write(line)
    spool.finish()
    chunks = [chunk async for chunk in spool.chunks()]
    spool.close()
    assert b"".join(chunks) == line * (3 * IN_MEMORY_BYTES // len(line))
    assert max(map(len, chunks)) <= CHUNK_BYTES


async def test_a_reader_that_is_early_waits_for_news() -> None:
    spool = Spool(spools())
    reading = asyncio.create_task(read_all(spool))
    for part in (b"a", b"b", b"c"):
        await spool.write(part)
        await asyncio.sleep(0)
    assert not reading.done()
    spool.finish()
    assert await reading == b"abc"
    spool.close()


@given(st.lists(st.tuples(st.binary(max_size=50), st.booleans())))
def test_writes_and_reads_in_any_order_lose_nothing(steps: list[tuple[bytes, bool]]) -> None:
    async def run() -> bytes:
        spool, read = Spool(spools()), b""
        chunks = spool.chunks()
        for data, then_read in steps:
            await spool.write(data)
            if then_read and not spool.is_empty:
                read += await anext(chunks)
        spool.finish()
        read += b"".join([chunk async for chunk in chunks])
        spool.close()
        return read

    assert asyncio.run(run()) == b"".join(data for data, _ in steps)


@pytest.mark.usefixtures("small")
async def test_the_writer_waits_while_too_much_is_unread_and_the_file_does_not_grow() -> None:
    spool = Spool(spools())
    data = os.urandom(1_000)
    writing = asyncio.create_task(spool.write(data))
    chunks, read = spool.chunks(), b""
    while len(read) < len(data):
        await eventually(lambda: is_full(spool, len(data)), what="a full spool")
        assert spool._written - spool._read <= 100
        spool._file.seek(0, os.SEEK_END)
        assert spool._file.tell() <= 100
        read += await anext(chunks)
    assert read == data
    await writing
    spool.close()


async def is_full(spool: Spool, size_bytes: int) -> bool:
    return spool._written - spool._read > 93 or spool._written >= size_bytes


@pytest.mark.usefixtures("small")
async def test_all_spools_together_have_a_bound_and_each_a_little_for_itself() -> None:
    together = spools()
    full = [Spool(together) for _ in range(3)]
    writing = [asyncio.create_task(spool.write(bytes(100))) for spool in full]
    await eventually(lambda: holds(together, 243), what="the bound")  # parts of 7 bytes: the next would pass 250
    late = Spool(together)
    await late.write(bytes(10))
    further = asyncio.create_task(late.write(bytes(1)))
    await asyncio.sleep(0)
    assert not further.done()
    full[0].close()
    await asyncio.wait([further, *writing])
    for spool in (*full[1:], late):
        spool.close()
    assert together.unread_bytes == 0


async def holds(together: Spools, least_bytes: int) -> bool:
    return together.unread_bytes >= least_bytes


@pytest.mark.usefixtures("small")
async def test_no_more_than_a_little_is_written_to_a_disk_that_is_nearly_full() -> None:
    spool = Spool(spools(least_free=1 << 62))
    writing = asyncio.create_task(spool.write(bytes(range(20))))
    chunks, read = spool.chunks(), b""
    while len(read) < 20:
        read += await anext(chunks)
        assert spool._written - spool._read <= 10
    assert read == bytes(range(20))
    await writing
    spool.close()
