"""How long a stop may take: one budget, counted from the first signal, which worker, API and `everpost up` keep alike.

| until | what |
|---|---|
| `EVERPOST_SHUTDOWN_WAIT` | requests and attempts under way may end |
| `RECORD_S` later | how attempts ended is recorded, and Redis lets go of them |
| `CLOSE_S` later | everything is closed; a process that is still there ends itself |
| `UP_S` later | `everpost up` has stopped all of its processes, and kills what is left |
"""

import faulthandler
import signal

RECORD_S = 5.0
CLOSE_S = 5.0
UP_S = 5.0


def process_budget_s(shutdown_wait_s: float) -> float:
    """Seconds in which an API or a worker has ended."""
    return shutdown_wait_s + RECORD_S + CLOSE_S


def up_budget_s(shutdown_wait_s: float) -> float:
    """Seconds in which `everpost up` and all it started has ended."""
    return process_budget_s(shutdown_wait_s) + UP_S


def stop_signals() -> list[signal.Signals]:
    """The signals that stop a process in order; that of a closed terminal too, unless it was told to ignore that."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    return numbers


def end_process_in(budget_s: float) -> None:
    """End this process in so many seconds, whatever it does then, and write its stacks to standard error.

    A thread without Python does it, so code that blocks the interpreter does not keep the process.
    """
    faulthandler.dump_traceback_later(budget_s, exit=True)
