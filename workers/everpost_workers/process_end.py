"""Ends a worker's process without waiting for it."""

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
    """End the process without waiting for threads and tasks that publishers have left running."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_blocked_process() -> NoReturn:
    """End a process whose event loop a publisher blocks; called in a thread. Other workers run the jobs it held."""
    faulthandler.dump_traceback_later(LOG_S, exit=True)  # also if logging blocks
    log.critical("worker.blocked", advice="A publisher blocks the event loop, see where below; the worker ends.")
    faulthandler.dump_traceback(all_threads=True)
    leave_at_once(FAILED)
