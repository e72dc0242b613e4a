"""Many time limits over one timer."""

import asyncio

import pytest

from everpost_workers.engine import TimeLimits


async def wait_for_ever(limits: TimeLimits, name: str, limit_s: float, cut: list[str]) -> None:
    try:
        with limits.limit(limit_s):
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        cut.append(name)


async def test_overdue_work_is_cut_off_once_and_in_time() -> None:
    limits, cut = TimeLimits(), list[str]()
    late = asyncio.create_task(wait_for_ever(limits, "late", 0.2, cut))
    early = asyncio.create_task(wait_for_ever(limits, "early", 0.01, cut))  # before the one the timer was set for
    await asyncio.gather(late, early)
    assert cut == ["early", "late"]
    await wait_for_ever(limits, "later", 0.01, cut)
    assert cut == ["early", "late", "later"]


async def test_work_that_ends_in_time_is_not_cut_off() -> None:
    limits, cut = TimeLimits(), list[str]()
    with limits.limit(0.005) as ended:
        pass
    await wait_for_ever(limits, "overdue", 0.01, cut)
    assert (cut, ended.expired) == (["overdue"], False)


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
