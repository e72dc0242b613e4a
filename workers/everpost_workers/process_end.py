"""How a worker's process ends when waiting for it makes no sense."""

import faulthandler
import logging
import os
import sys
from typing import NoReturn

import structlog

log = structlog.get_logger("everpost.worker")

FAILED = 1
LOG_S = 3.0


def leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for what publishers have left running: threads, and tasks that go on."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_blocked_process() -> NoReturn:
    """End a process whose event loop stands still in a publisher; called in a thread. What it held runs elsewhere."""
    faulthandler.dump_traceback_later(LOG_S, exit=True)  # also where the log is what blocks
    log.critical("worker.blocked", advice="A publisher blocks the event loop, see where below; the worker ends.")
    faulthandler.dump_traceback(all_threads=True)
    leave_at_once(FAILED)
