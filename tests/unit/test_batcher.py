import asyncio
from collections.abc import Sequence

import pytest

from everpost.batcher import Batcher


class Flushes:
    """A flush that can be held, and remembers what it got."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | BaseException]:
        self.batches.append(list(items))
        self.started.set()
        await self.gate.wait()
        return [ValueError(item) if item < 0 else item * 2 for item in items]


async def test_items_during_a_flush_are_flushed_next_as_one_unit() -> None:
    flush = Flushes()
    batcher = Batcher(flush)
    first = asyncio.create_task(batcher.submit(1))
    await flush.started.wait()
    rest = [asyncio.create_task(batcher.submit(item)) for item in (2, 3, 4)]
    await asyncio.sleep(0)
    flush.gate.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    assert flush.batches == [[1], [2, 3, 4]]


async def test_each_caller_gets_its_own_error() -> None:
    flush = Flushes()
    flush.gate.set()
    batcher = Batcher(flush)
    answers = await asyncio.gather(*(batcher.submit(item) for item in (1, -2, 3)), return_exceptions=True)
    assert [repr(answer) for answer in answers] == ["2", "ValueError(-2)", "6"]


async def test_a_flush_that_fails_fails_every_caller_and_the_next_one_works() -> None:
    failures = [OSError("full")]

    async def flush(items: Sequence[int]) -> Sequence[int]:
        if failures:
            raise failures.pop()
        return items

    batcher: Batcher[int, int] = Batcher(flush)
    answers = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert all(isinstance(answer, OSError) for answer in answers)
    assert await batcher.submit(3) == 3


async def test_a_batch_has_a_largest_size() -> None:
    flush = Flushes()
    flush.gate.set()
    batcher = Batcher(flush, max_items=2)
    await asyncio.gather(*(batcher.submit(item) for item in range(5)))
    assert flush.batches == [[0, 1], [2, 3], [4]]


async def test_a_caller_that_gives_up_before_its_flush_is_left_out_and_disturbs_no_other() -> None:
    flush = Flushes()
    batcher = Batcher(flush)
    first = asyncio.create_task(batcher.submit(1))
    await flush.started.wait()
    second, third = asyncio.create_task(batcher.submit(2)), asyncio.create_task(batcher.submit(3))
    await asyncio.sleep(0)
    second.cancel()
    flush.gate.set()
    assert [await first, await third] == [2, 6]
    with pytest.raises(asyncio.CancelledError):
        await second
    assert flush.batches == [[1], [3]]


async def test_drain_waits_for_all_that_was_submitted() -> None:
    flush = Flushes()
    flush.gate.set()
    batcher = Batcher(flush)
    submitted = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0)
    await batcher.drain()
    assert submitted.done() or await submitted == 2
