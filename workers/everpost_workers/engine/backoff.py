"""The waits between tries to reach a server that may come back."""

from collections.abc import Callable


class Backoff:
    """Waits that double from `first_s` up to `most_s`.

    Args:
        jitter: Gives a factor for each wait, so that many workers do not try at the same moment; 1 by default.
    """

    def __init__(self, first_s: float, most_s: float, *, jitter: Callable[[], float] = lambda: 1.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._jitter = jitter
        self._failures = 0

    def next_s(self) -> float:
        """The seconds to wait after one more failure."""
        wait_s = min(self._first_s * float(1 << min(self._failures, 32)), self._most_s)
        self._failures += 1
        return wait_s * self._jitter()

    def reset(self) -> None:
        """Begin again with the first wait, after a success."""
        self._failures = 0
