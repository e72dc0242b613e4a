"""Measures times without those in which a busy machine made a process wait for a processor."""

import time
from contextlib import suppress
from pathlib import Path

STATISTICS = "schedstat"  # of a thread: nanoseconds it ran, nanoseconds it waited to run, time slices


def fair_s() -> float:
    """Now, on a clock that stands still while this thread waits for a processor: a busy machine fails no test by it."""
    return time.monotonic() - _waited_s(Path("/proc/thread-self"))


def waited_for_processor_s(pid: int) -> float:
    """How long the threads of a process have been ready to run on a busy machine, and have not run."""
    return sum(map(_waited_s, Path(f"/proc/{pid}/task").glob("*")))


def _waited_s(thread: Path) -> float:
    with suppress(OSError, IndexError):  # it has ended; this system keeps no statistics
        return int((thread / STATISTICS).read_text("ascii").split()[1]) / 1e9
    return 0.0
