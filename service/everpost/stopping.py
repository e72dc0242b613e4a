"""The time budget of a stop, counted from the first signal. Worker, API and `everpost up` share it.

| until | what happens |
|---|---|
| `EVERPOST_SHUTDOWN_WAIT` | running requests and attempts may end |
| `RECORD_S` later | outcomes are recorded, and jobs are released in Redis |
| `CLOSE_S` later | everything is closed; a process that still runs ends itself |
| `UP_S` later | `everpost up` has stopped all its processes, and kills the rest |
"""

import faulthandler
import signal

RECORD_S = 5.0
CLOSE_S = 5.0
UP_S = 5.0


def process_budget_s(shutdown_wait_s: float) -> float:
    """Seconds within which an API or a worker ends."""
    return shutdown_wait_s + RECORD_S + CLOSE_S


def up_budget_s(shutdown_wait_s: float) -> float:
    """Seconds within which `everpost up` and all its processes end."""
    return process_budget_s(shutdown_wait_s) + UP_S


def stop_signals() -> list[signal.Signals]:
    """The signals that stop a process in order: SIGINT, SIGTERM, and SIGHUP unless it is ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        numbers.append(signal.SIGHUP)
    return numbers


def end_process_in(budget_s: float) -> None:
    """End this process after `budget_s` seconds in any case, and write its stacks to standard error.

    A thread outside Python does this, so code that blocks the interpreter cannot prevent it.
    """
    faulthandler.dump_traceback_later(budget_s, exit=True)
