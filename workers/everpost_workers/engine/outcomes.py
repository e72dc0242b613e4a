"""How a job ends: the decision what follows an attempt, and the shape in which the completion hook hears of it."""

import asyncio
from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Any

import msgspec
from arq.worker import Retry, RetryJob

from everpost_workers.engine.errors import HandBackError


class OutcomeReason(StrEnum):
    """Why a job is over; the last five never reached the job's function."""

    COMPLETE = "complete"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ABORTED = "aborted"  # while it ran, or before it started
    EXPIRED = "expired"  # its payload is gone
    UNDECODABLE = "undecodable"
    UNKNOWN_FUNCTION = "unknown_function"
    TRIES_EXHAUSTED = "tries_exhausted"


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A job's end, as the completion hook gets it.

    Attributes:
        result: What the function returned, or the exception (also `asyncio.CancelledError`) that ended the job.
        start_ms: When this attempt began; for a job that never ran, when it was claimed.
        payload: The bytes under the job's key; None where they were gone.
        extra: What the claim hook put into the `Claim`.
        fenced: Another worker has taken the job meanwhile, as far as was known when the hook was called.
    """

    job_id: str
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    job_try: int
    enqueue_time_ms: int
    success: bool
    result: Any
    start_ms: int
    finish_ms: int
    queue_name: str
    reason: OutcomeReason
    payload: bytes | None
    extra: Mapping[str, Any]
    fenced: bool = False


class CancelCause(Enum):
    """Why the engine cancelled an attempt."""

    TIMEOUT = "timeout"
    ABORT = "abort"
    SHUTDOWN = "shutdown"


def cause_of(error: asyncio.CancelledError) -> CancelCause | None:
    """Why the engine cancelled, as it says in the cancellation; None if somebody else did."""
    cause = error.args[0] if error.args else None
    return cause if isinstance(cause, CancelCause) else None


class NextStep(Enum):
    """What follows an attempt that raised."""

    RETRY = "retry"  # Retry: again, maybe later; spends a try
    RERUN = "rerun"  # RetryJob or a cancellation of the job's own making: again; spends a try
    HAND_BACK = "hand back"  # cut off by a shutdown, or HandBackError: again; spends none
    ABORT = "abort"
    TIME_OUT = "time out"
    FAIL = "fail"


def next_step(error: BaseException, cause: CancelCause | None, *, may_retry: bool) -> NextStep:
    """Decide what follows an attempt that ended with `error`, after the engine cancelled it for `cause`.

    The order is arq's (`Worker.run_job`): Retry, abort, cancellation, everything else is final.
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
