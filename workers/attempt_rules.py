"""What follows an attempt that failed: a pure function from its error to the next step."""

import random
from collections.abc import Callable

import msgspec

from service.task import ErrorClass, TaskStatus

BACKOFF_BASE_S = 2.0
BACKOFF_CAP_S = 600.0
RATE_LIMIT_WAIT_S = 60.0
LONGEST_WAIT_S = 86_400.0  # whatever a platform asks for
MAX_LOST_ATTEMPTS = 3  # workers that may die on a task before it is taken for their killer


class NextAttempt(msgspec.Struct, frozen=True):
    """The task is tried again.

    Attributes:
        delay_s: Seconds until then.
        spends: It counts against the platform's `max_attempts`.
    """

    delay_s: float
    spends: bool


class Ended(msgspec.Struct, frozen=True):
    """The task ends with this status."""

    status: TaskStatus


def decide_attempt(
    error_class: ErrorClass,
    *,
    may_rerun: bool,
    spent: int,
    max_attempts: int,
    retry_after_s: float | None = None,
    jitter: Callable[[float, float], float] = random.uniform,
) -> NextAttempt | Ended:
    """What follows a failed attempt.

    Args:
        may_rerun: The publisher's class allows a rerun when the outcome is not known.
        spent: Attempts that counted so far, this one not among them.
        retry_after_s: What the platform asked for; heeded if it is positive, up to `LONGEST_WAIT_S`.
        jitter: Draws a delay between two bounds; full jitter, so that failures do not return in step
            (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    asked_s = min(retry_after_s, LONGEST_WAIT_S) if retry_after_s is not None and retry_after_s > 0 else 0.0
    if error_class is ErrorClass.RATE_LIMITED:
        return NextAttempt(asked_s or RATE_LIMIT_WAIT_S, spends=False)
    again = error_class is ErrorClass.TRANSIENT or (error_class is ErrorClass.UNKNOWN and may_rerun)
    if again and spent + 1 < max_attempts:
        backoff_s = jitter(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**spent))
        return NextAttempt(max(backoff_s, asked_s), spends=True)
    return Ended(TaskStatus.UNKNOWN if error_class is ErrorClass.UNKNOWN else TaskStatus.FAILED)
