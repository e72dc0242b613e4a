"""Many time limits over one timer."""

import asyncio

import pytest

from everpost_workers.engine.deadlines import Deadlines, TimeLimits


async def test_overdue_work_is_cut_off_once_and_in_time() -> None:
    cut: asyncio.Queue[str] = asyncio.Queue()
    deadlines = Deadlines(cut.put_nowait)
    deadlines.keep("late", 0.02)
    deadlines.keep("early", 0.01)  # before the one the timer was set for
    assert [await cut.get(), await cut.get()] == ["early", "late"]
    deadlines.keep("later", 0.01)
    assert await cut.get() == "later"


async def test_work_that_ends_in_time_is_not_cut_off() -> None:
    cut: asyncio.Queue[str] = asyncio.Queue()
    deadlines = Deadlines(cut.put_nowait)
    deadlines.keep("ended", 0.005)
    deadlines.keep("overdue", 0.01)
    deadlines.drop("ended")
    assert await cut.get() == "overdue"
    assert cut.empty()


async def test_a_block_over_its_limit_raises_timeout_error_and_its_task_goes_on() -> None:
    limit = TimeLimits().limit(0.005)
    with pytest.raises(TimeoutError), limit:
        await asyncio.get_running_loop().create_future()
    assert limit.expired
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_timeout_of_the_blocks_own_is_not_its_limit() -> None:
    limit = TimeLimits().limit(60)
    with pytest.raises(TimeoutError), limit:
        raise TimeoutError
    assert not limit.expired


async def test_a_cancellation_from_outside_passes_through_a_limit() -> None:
    began = asyncio.Event()

    async def work() -> None:
        with TimeLimits().limit(60):
            began.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_limit_that_passes_during_a_cancellation_lets_the_cancellation_through() -> None:
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        with TimeLimits().limit(0):
            task.get_loop().call_later(0.005, task.cancel)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.get_running_loop().create_future()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work())
