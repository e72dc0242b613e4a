"""How fast long work on the database may go while others write to it, too."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

Handle = TypeVar("Handle")
Result = TypeVar("Result")

STEP_S = 0.015  # that a step should have the file to itself: what others' writes wait for it
LEAST = 8  # tasks of a step, however slow the file
FIRST = 50
REST = 1.0  # seconds of rest for a second of work
LEAST_REST_S = 0.005


class Pace:
    """Finds how many tasks make a step of `STEP_S`, and rests between two steps.

    Attributes:
        size: How many tasks the next step should have.

    Args:
        most: The most tasks of a step.
        rest: Seconds of rest for each second that a step took.
    """

    def __init__(self, most: int, rest: float = REST) -> None:
        self.size = min(FIRST, most)
        self._most = most
        self._rest = rest
        self._locked_at = 0.0

    def timed(self, operation: Callable[[Handle], Result]) -> Callable[[Handle], Result]:
        """The operation, noting when it has the file to itself; what it waited for that is not its own doing."""

        def noting(handle: Handle) -> Result:
            self._locked_at = time.monotonic()
            return operation(handle)

        return noting

    @asynccontextmanager
    async def step(self) -> AsyncIterator[int]:
        """Around a step of as many tasks as it gives: learns from it, and rests behind it, so that others go first."""
        began = time.monotonic()
        self._locked_at = began
        yield self.size
        ended = time.monotonic()
        self.size = next_size(self.size, ended - self._locked_at, self._most)
        await asyncio.sleep(max(LEAST_REST_S, self._rest * (ended - began)))


def next_size(size: int, held_s: float, most: int) -> int:
    """The size of the next step, after one of `size` tasks that kept others waiting for `held_s`.

    It at most doubles, because a single fast step says little, and shrinks as far as it must.
    """
    fitting = 2 * size if 2 * held_s < STEP_S else int(size * STEP_S / held_s)
    return max(LEAST, min(most, fitting))
