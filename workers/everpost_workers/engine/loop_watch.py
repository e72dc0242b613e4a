"""Finds out that a job blocks the event loop."""

from collections.abc import Callable


class LoopWatch:
    """Calls back when the event loop has not turned for longer than any job may take: a job blocks it.

    Args:
        limit_s: The longest time that a job may take.
        on_blocked: Called once, in the thread that looks.
    """

    def __init__(self, limit_s: float, on_blocked: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._on_blocked = on_blocked
        self._turns = self._seen = 0
        self._still_s = 0.0
        self._is_watching = True

    def turn(self) -> None:
        """Note that the loop turns."""
        self._turns += 1

    def stop(self) -> None:
        """Look no more: the loop comes to its end."""
        self._is_watching = False

    def look(self, passed_s: float) -> None:
        """See whether the loop has turned since the last look, `passed_s` seconds ago.

        The seconds are added up, and no clock is asked: the time in which a process was stopped is no block.
        """
        if self._turns != self._seen or not self._is_watching:
            self._seen, self._still_s = self._turns, 0.0
            return
        self._still_s += passed_s
        if self._still_s > self._limit_s:
            self._is_watching = False
            self._on_blocked()
