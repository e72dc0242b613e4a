"""The spool: everything comes out once and in order, and neither side waits for the other."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from service.api.spool import CHUNK_BYTES, IN_MEMORY_BYTES, Spool


async def read_all(spool: Spool) -> bytes:
    return b"".join([chunk async for chunk in spool.chunks()])


async def test_a_reader_that_comes_late_gets_everything_in_order() -> None:
    spool = Spool()
    line = b"0123456789abcde\n"
    for _ in range(3 * IN_MEMORY_BYTES // len(line)):
        spool.write(line)
    spool.finish()
    chunks = [chunk async for chunk in spool.chunks()]
    spool.close()
    assert b"".join(chunks) == line * (3 * IN_MEMORY_BYTES // len(line))
    assert max(map(len, chunks)) <= CHUNK_BYTES


async def test_a_reader_that_is_early_waits_for_news() -> None:
    spool = Spool()
    reading = asyncio.create_task(read_all(spool))
    for part in (b"a", b"b", b"c"):
        spool.write(part)
        await asyncio.sleep(0)
    assert not reading.done()
    spool.finish()
    assert await reading == b"abc"
    spool.close()


@given(st.lists(st.tuples(st.binary(max_size=50), st.booleans())))
def test_writes_and_reads_in_any_order_lose_nothing(steps: list[tuple[bytes, bool]]) -> None:
    async def run() -> bytes:
        spool, read = Spool(), b""
        chunks = spool.chunks()
        for data, then_read in steps:
            spool.write(data)
            if then_read and not spool.is_empty:
                read += await anext(chunks)
        spool.finish()
        read += b"".join([chunk async for chunk in chunks])
        spool.close()
        return read

    assert asyncio.run(run()) == b"".join(data for data, _ in steps)
