"""The pace of long work on the database: full speed while nothing else writes, otherwise small steps with rests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeVar

Handle = TypeVar("Handle")
Result = TypeVar("Result")

STEP_S = 0.015  # target duration of a step; other writers wait that long
STEP_ALONE_S = 0.04  # the same while nothing else writes; at most one writer waits for such a step
LEAST = 8  # tasks in a step, however slow the file
FIRST = 16  # tasks in the first step
REST = 1.0  # seconds of rest per second of work
LEAST_REST_S = 0.005


class Others(Protocol):
    """Tells whether other code or processes write to the database."""

    def look(self, raw: Any) -> None:
        """Note what has been written so far; called in a step's transaction."""

    def are_writing(self) -> bool:
        """Whether others have written lately; called once after each step."""


class Pace:
    """Finds how many tasks fill a step of `STEP_S`, and rests between two steps.

    Attributes:
        size: How many tasks the next step should have.

    Args:
        most: The most tasks of a step.
        rest: Seconds of rest for each second that a step took.
        others: If given, the work rests only while others write. Such work must have its own pauses between its
            transactions, in which another process can take the file.
    """

    def __init__(self, most: int, rest: float = REST, others: Others | None = None) -> None:
        self.size = min(FIRST, most)
        self._most = most
        self._rest = rest
        self._others = others
        self._worked_s = 0.0

    def timed(self, operation: Callable[[Handle], Result]) -> Callable[[Handle], Result]:
        """The operation, with its duration measured.

        The wait for the file and the flush are not counted. If they were, a busy or slow disk would make the steps
        ever smaller, and each step has its own flush.
        """

        def measured(handle: Handle) -> Result:
            with self.measuring(handle):
                return operation(handle)

        return measured

    @contextmanager
    def measuring(self, handle: Any) -> Iterator[None]:
        """Measures what is done inside; see `timed`."""
        if self._others is not None:
            self._others.look(handle)
        began = time.monotonic()
        try:
            yield
        finally:
            self._worked_s = time.monotonic() - began

    @asynccontextmanager
    async def step(self) -> AsyncIterator[int]:
        """Surrounds one step: gives its number of tasks, measures it, and rests afterwards so that others go first."""
        began, self._worked_s = time.monotonic(), 0.0
        yield self.size
        took_s = time.monotonic() - began
        is_alone = self._others is not None and not self._others.are_writing()
        self.size = next_size(self.size, self._worked_s or took_s, self._most, STEP_ALONE_S if is_alone else STEP_S)
        if not is_alone:
            await asyncio.sleep(max(LEAST_REST_S, self._rest * took_s))


def next_size(size: int, worked_s: float, most: int, step_s: float = STEP_S) -> int:
    """The number of tasks for a step of `step_s`, if the last step of `size` tasks took `worked_s`.

    It doubles at most, because one fast step says little. It shrinks without a limit, down to `LEAST`.
    """
    fitting = 2 * size if 2 * worked_s < step_s else int(size * step_s / worked_s)
    return max(LEAST, min(most, fitting))
