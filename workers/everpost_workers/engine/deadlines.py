"""Time limits of many short pieces of work over one timer.

`asyncio.timeout` sets and cancels a timer of the event loop for each piece. For jobs that take no time themselves, that
was a tenth of the worker's time.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Work = TypeVar("Work")


class Deadlines(Generic[Work]):
    """The deadlines of the work under way.

    Args:
        cut_off: Called once for each piece of work whose deadline passes before it is dropped.
    """

    def __init__(self, cut_off: Callable[[Work], object]) -> None:
        self._cut_off = cut_off
        self._deadlines: dict[Work, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop  # kept, because asking for it is a system call

    def keep(self, work: Work, timeout_s: float) -> None:
        """Watch `work` from now on."""
        if self._timer is None:
            self.loop = asyncio.get_running_loop()
        deadline = self._deadlines[work] = self.loop.time() + timeout_s
        if self._timer is None or deadline < self._timer.when():
            self._set_timer(deadline)

    def drop(self, work: Work) -> None:
        """Stop watching `work`; no harm if it is not watched."""
        self._deadlines.pop(work, None)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(deadline, self._look)

    def _look(self) -> None:
        """Cut off overdue work. The work that the timer was set for may be gone by now."""
        self._timer = None
        overdue = [work for work, deadline in self._deadlines.items() if deadline <= self.loop.time()]
        for work in overdue:
            self.drop(work)
            self._cut_off(work)
        if self._deadlines:
            self._set_timer(min(self._deadlines.values()))


class TimeLimits:
    """`asyncio.timeout` for many blocks with one timer: `with limits.limit(30): ...` around what is awaited."""

    def __init__(self) -> None:
        self._deadlines: Deadlines[Limit] = Deadlines(lambda limit: limit.cut_off())

    def limit(self, timeout_s: float) -> "Limit":
        """A limit for one block of the current task; the block raises TimeoutError when it is cut off."""
        return Limit(self._deadlines, timeout_s)


class Limit:
    """One block's limit.

    Attributes:
        expired: The block was cut off.
        task: The task that is in the block; None before it begins.
    """

    __slots__ = ("_cancelling", "_deadlines", "_timeout_s", "expired", "task")

    def __init__(self, deadlines: "Deadlines[Limit]", timeout_s: float) -> None:
        self._deadlines = deadlines
        self._timeout_s = timeout_s
        self.expired = False
        self.task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        self._deadlines.keep(self, self._timeout_s)
        task = asyncio.current_task(self._deadlines.loop)
        assert task is not None, "a limit is for code that runs in a task"
        self.task = task
        self._cancelling = task.cancelling()
        return self

    def cut_off(self) -> None:
        """Cancel the block."""
        self.expired = True
        if self.task is not None:
            self.task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.drop(self)
        # A cancellation from elsewhere goes on, as in asyncio.timeout.
        if not self.expired or self.task is None:
            return
        if self.task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error
