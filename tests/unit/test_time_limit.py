"""Time limits behave as those of asyncio."""

import asyncio

import pytest

from everpost.time_limit import TimeLimit, ends_within

LONG_S = 60.0


async def _wait_under_limit(seconds: float, begun: asyncio.Event) -> None:
    with TimeLimit(seconds):
        begun.set()
        await asyncio.Event().wait()


async def test_a_wait_that_takes_too_long_raises_timeout_error() -> None:
    """The task is not cancelled afterwards."""
    with pytest.raises(TimeoutError):
        await _wait_under_limit(0.001, asyncio.Event())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_ends_in_time_is_not_disturbed() -> None:
    """Errors too go through unchanged, and the timer is stopped."""
    with TimeLimit(LONG_S):
        await asyncio.sleep(0)
    with pytest.raises(KeyError), TimeLimit(LONG_S):
        raise KeyError


async def test_a_task_that_another_one_cancels_under_a_limit_stays_cancelled() -> None:
    """Also if the time is over at the same moment."""
    for seconds in (LONG_S, 0.0):
        begun = asyncio.Event()
        task = asyncio.create_task(_wait_under_limit(seconds, begun))
        await begun.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()


async def test_a_task_that_takes_too_long_goes_on() -> None:
    """The caller learns which it is."""
    may_end = asyncio.Event()
    task = asyncio.create_task(may_end.wait())
    assert not await ends_within(task, 0.001)
    may_end.set()
    assert await ends_within(task, LONG_S)
    assert task.result()


async def test_a_task_goes_on_if_the_one_that_waits_for_it_is_cancelled() -> None:
    """Nothing is left behind at the task."""
    may_end = asyncio.Event()
    task = asyncio.create_task(may_end.wait())
    waiting = asyncio.create_task(ends_within(task, LONG_S))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert waiting.cancelled()
    may_end.set()
    assert await task
