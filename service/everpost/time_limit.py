"""Time limits on the hot path. Python 3.11's `asyncio.timeout` and `asyncio.wait` cost three times as much."""

import asyncio
from types import TracebackType
from typing import Any


class TimeLimit:
    """As `asyncio.timeout`, but entered with `with`, once, and without a way to change it.

    Args:
        seconds: The time from entering.

    Raises:
        TimeoutError: On leaving, if the time was over before the task ended what it awaited.
    """

    __slots__ = ("_cancellations", "_is_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> None:
        """Start the time."""
        loop = asyncio.get_running_loop()  # each call costs a system call on Python 3.11
        task = asyncio.current_task(loop)
        assert task is not None, "a time limit is for a task"
        self._task = task
        self._cancellations = task.cancelling()
        self._timer = loop.call_later(self._seconds, self._end)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop the time. If the task was cancelled by others too, it stays cancelled."""
        self._timer.cancel()
        if self._is_over and self._task.uncancel() <= self._cancellations and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()


async def ends_within(task: "asyncio.Task[Any]", seconds: float) -> bool:
    """Whether a task ends within a time; it goes on if it does not, or if the caller is cancelled."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def release(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(seconds, release)
    task.add_done_callback(release)
    try:
        await waiter
    finally:
        timer.cancel()
        task.remove_done_callback(release)
    return task.done()
