"""How fast long work on the database may go: at full speed while it is alone, and else so that others hardly notice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

Handle = TypeVar("Handle")
Result = TypeVar("Result")

STEP_S = 0.015  # that a step should work while it has the file to itself, which others wait for
STEP_ALONE_S = 0.04  # the same while nobody waits: the first who comes then waits for one such step
LEAST = 8  # tasks of a step, however slow the file
FIRST = 16
REST = 1.0  # seconds of rest for a second of work
LEAST_REST_S = 0.005


class Others(Protocol):
    """Tells whether others write, too."""

    def look(self, raw: Any) -> None:
        """See what they have done so far; called in a step's transaction."""

    def are_writing(self) -> bool:
        """Whether they have lately; called once behind each step."""


class Pace:
    """Finds how many tasks make a step of `STEP_S`, and rests between two steps.

    Attributes:
        size: How many tasks the next step should have.

    Args:
        most: The most tasks of a step.
        rest: Seconds of rest for each second that a step took.
        others: For whom it rests; by default it always does. Work that passes them has pauses of its own between its
            transactions, in which another process can take the file.
    """

    def __init__(self, most: int, rest: float = REST, others: Others | None = None) -> None:
        self.size = min(FIRST, most)
        self._most = most
        self._rest = rest
        self._others = others
        self._worked_s = 0.0

    def timed(self, operation: Callable[[Handle], Result]) -> Callable[[Handle], Result]:
        """The operation, measured: neither the wait for the file nor the flush of the disk is its own doing.

        With these in the account, a busy or slow disk would make the steps ever smaller, and each has one flush.
        """

        def measured(handle: Handle) -> Result:
            if self._others is not None:
                self._others.look(handle)
            began = time.monotonic()
            try:
                return operation(handle)
            finally:
                self._worked_s = time.monotonic() - began

        return measured

    @asynccontextmanager
    async def step(self) -> AsyncIterator[int]:
        """Around a step of as many tasks as it gives: learns from it, and rests behind it, so that others go first."""
        began, self._worked_s = time.monotonic(), 0.0
        yield self.size
        took_s = time.monotonic() - began
        is_alone = self._others is not None and not self._others.are_writing()
        self.size = next_size(self.size, self._worked_s or took_s, self._most, STEP_ALONE_S if is_alone else STEP_S)
        if not is_alone:
            await asyncio.sleep(max(LEAST_REST_S, self._rest * took_s))


def next_size(size: int, worked_s: float, most: int, step_s: float = STEP_S) -> int:
    """The size of the next step, which should work for `step_s`, after one of `size` tasks that worked for `worked_s`.

    It at most doubles, because a single fast step says little, and shrinks as far as it must.
    """
    fitting = 2 * size if 2 * worked_s < step_s else int(size * step_s / worked_s)
    return max(LEAST, min(most, fitting))
