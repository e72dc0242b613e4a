"""A program that `everpost up` keeps running: if it ends unexpectedly, it is restarted with growing delays."""

import time
from collections.abc import Mapping, Sequence

from everpost.children import Child

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
WELL_STARTED_S = 60.0  # a program that ran this long has started well
MISUSED = 2  # the exit code for a wrong setting; a restart will not help


def restart_delay_s(failures: int) -> float:
    """Seconds to wait after this many failed starts in a row: doubles from `FIRST_DELAY_S` to `LONGEST_DELAY_S`."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 30))


class Program:
    """A command line and its current child process; after each end there may be a new one."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.argv = argv
        self.env = env
        self.child: Child | None = None
        self.due_s: float | None = None  # the next start on the monotonic clock; None while it runs
        self._started_s = 0.0
        self._failures = 0

    def start(self) -> None:
        """Start it now."""
        self.child = Child(self.argv, env=self.env)
        self._started_s = time.monotonic()
        self.due_s = None

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self.child is not None and self.child.exit_code is None

    def note_end(self) -> tuple[int, float] | None:
        """If the process has ended since the last call: its exit code and the seconds until its restart; else None."""
        code = self.child.exit_code if self.child else None
        if self.child is None or code is None:
            return None
        self.child = None
        now_s = time.monotonic()
        self._failures = 1 if now_s - self._started_s > WELL_STARTED_S else self._failures + 1
        delay_s = restart_delay_s(self._failures)
        self.due_s = now_s + delay_s
        return code, delay_s

    def terminate(self) -> None:
        """Send SIGTERM if it runs."""
        if self.child is not None and self.child.exit_code is None:
            self.child.process.terminate()

    def kill(self) -> None:
        """Send SIGKILL if it runs."""
        if self.child is not None and self.child.exit_code is None:
            self.child.kill()


def described(code: int) -> str:
    """How a process ended, as words."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
