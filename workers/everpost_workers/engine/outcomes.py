"""How a job can end, and the decision about what follows a try that raised."""

import asyncio
from enum import Enum, StrEnum

from arq.worker import Retry, RetryJob

from everpost_workers.engine.errors import HandBackError


class OutcomeReason(StrEnum):
    """Why a job is over. The last four never reached the job's function."""

    COMPLETE = "complete"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ABORTED = "aborted"  # while it ran, or before it started
    EXPIRED = "expired"  # its payload is gone
    UNDECODABLE = "undecodable"
    UNKNOWN_FUNCTION = "unknown_function"
    TRIES_EXHAUSTED = "tries_exhausted"


class CancelCause(Enum):
    """Why the engine cancelled a running job."""

    TIMEOUT = "timeout"
    ABORT = "abort"
    SHUTDOWN = "shutdown"


def cause_of(error: asyncio.CancelledError) -> CancelCause | None:
    """Why the engine cancelled the job, taken from the cancellation; None if the engine did not cancel it."""
    cause = error.args[0] if error.args else None
    return cause if isinstance(cause, CancelCause) else None


class NextStep(Enum):
    """What follows a try that raised."""

    RETRY = "retry"  # Retry: again, maybe later; spends a try
    RERUN = "rerun"  # RetryJob, or a cancellation that the job made itself: again; spends a try
    HAND_BACK = "hand back"  # cut off by a shutdown, or HandBackError: again; spends none
    ABORT = "abort"
    TIME_OUT = "time out"
    FAIL = "fail"


def next_step(error: BaseException, cause: CancelCause | None, *, may_retry: bool) -> NextStep:
    """Decide what follows a try that ended with `error`, after the engine cancelled it for `cause`.

    The order is arq's (`Worker.run_job`): Retry, abort, cancellation; everything else is final.
    """
    is_cancelled = isinstance(error, asyncio.CancelledError)
    if may_retry and isinstance(error, Retry):
        return NextStep.RETRY
    if is_cancelled and cause is CancelCause.ABORT:
        return NextStep.ABORT
    if cause is CancelCause.TIMEOUT:
        return NextStep.TIME_OUT
    if may_retry and (isinstance(error, HandBackError) or (is_cancelled and cause is CancelCause.SHUTDOWN)):
        return NextStep.HAND_BACK
    if may_retry and isinstance(error, (asyncio.CancelledError, RetryJob)):
        return NextStep.RERUN
    return NextStep.FAIL
