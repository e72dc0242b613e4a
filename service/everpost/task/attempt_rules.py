"""What follows an attempt that failed: a pure function from its error to the next step."""

import random
from collections.abc import Callable
from enum import Enum

import msgspec

from everpost.task.model import ErrorClass, TaskStatus

BACKOFF_BASE_S = 2.0
BACKOFF_CAP_S = 600.0
RATE_LIMIT_WAIT_S = 60.0  # where the platform does not say
RATE_LIMIT_FLOOR_S = 1.0  # the shortest first pause; it doubles with each further one,
RATE_LIMIT_CAP_S = 600.0  # up to this
RATE_LIMIT_SPREAD = 0.1  # of a pause, at random on top: tasks that were limited together do not come back together
LONGEST_WAIT_S = 86_400.0  # whatever a platform asks for
MAX_LOST_ATTEMPTS = 3  # processes that may die on a task before it is taken for their killer
MOST_LOST_ATTEMPTS = 10  # the same for one that never ran alone to the end: its killing reaches the worker itself


class CellKind(Enum):
    """Which process an attempt runs in, so that a task that kills its process kills few other attempts with it."""

    NONE = "none"  # the worker itself
    SHARED = "shared"  # a process that runs only tasks whose last process died
    OWN = "own"  # a process that runs nothing else meanwhile


class NextAttempt(msgspec.Struct, frozen=True):
    """The task is tried again.

    Attributes:
        delay_s: Seconds until then.
        spends: It counts against the platform's `max_attempts`.
    """

    delay_s: float
    spends: bool


class RateLimits(msgspec.Struct, frozen=True):
    """What rate limits have cost a task so far.

    Attributes:
        count: Attempts that were limited.
        paused_s: Seconds of pauses, as they were asked for. No clock is asked: one set ahead ends no task.
    """

    count: int = 0
    paused_s: float = 0.0


NO_RATE_LIMITS = RateLimits()


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
    limits: RateLimits = NO_RATE_LIMITS,
    rate_limit_deadline_s: float = LONGEST_WAIT_S,
    jitter: Callable[[float, float], float] = random.uniform,
) -> NextAttempt | Ended:
    """What follows a failed attempt.

    Args:
        may_rerun: The publisher's class allows a rerun when the outcome is not known.
        spent: Attempts that counted so far, this one not among them.
        retry_after_s: What the platform asked for; heeded if it is positive, up to `LONGEST_WAIT_S`.
        limits: What rate limits have cost the task before this attempt.
        rate_limit_deadline_s: Seconds of pauses for them after which it fails.
        jitter: Draws a delay between two bounds; full jitter, so that failures do not return in step
            (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    asked_s = min(retry_after_s, LONGEST_WAIT_S) if retry_after_s is not None and retry_after_s > 0 else 0.0
    if error_class is ErrorClass.RATE_LIMITED:
        return _after_rate_limit(asked_s or RATE_LIMIT_WAIT_S, limits, rate_limit_deadline_s, jitter)
    again = error_class is ErrorClass.TRANSIENT or (error_class is ErrorClass.UNKNOWN and may_rerun)
    if again and spent + 1 < max_attempts:
        backoff_s = jitter(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**spent))
        return NextAttempt(max(backoff_s, asked_s), spends=True)
    return Ended(TaskStatus.UNKNOWN if error_class is ErrorClass.UNKNOWN else TaskStatus.FAILED)


def _after_rate_limit(
    asked_s: float, limits: RateLimits, deadline_s: float, jitter: Callable[[float, float], float]
) -> NextAttempt | Ended:
    """Wait as long as the platform asks, but longer each time; the last attempt is made at the deadline."""
    left_s = deadline_s - limits.paused_s
    if left_s <= 0:
        return Ended(TaskStatus.FAILED)
    growing_s = min(RATE_LIMIT_FLOOR_S * 2 ** min(limits.count, 32), RATE_LIMIT_CAP_S)
    pause_s = max(asked_s, growing_s)
    pause_s += jitter(0, RATE_LIMIT_SPREAD * pause_s)
    return NextAttempt(max(min(pause_s, left_s), RATE_LIMIT_FLOOR_S), spends=False)


def cell_for(deaths: int) -> CellKind:
    """Where a task runs after so many deaths of processes that may have been inside its publisher.

    One death proves little: dozens of tasks are under way when a machine kills a worker, and all of them can go on side
    by side. Of those that are there when a second one dies, each runs alone, and the killer is the one that dies then.
    """
    if deaths == 0:
        return CellKind.NONE
    return CellKind.SHARED if deaths == 1 else CellKind.OWN


def kills_its_workers(deaths: int, *, died_alone: bool, can_run_alone: bool) -> bool:
    """Whether a task is taken for the killer of the processes that died while they had it, and given up on.

    Args:
        deaths: How many processes died.
        died_alone: One of them ran nothing else.
        can_run_alone: This worker can find out: else the number is all there is to go by.
    """
    if deaths >= MOST_LOST_ATTEMPTS:
        return True
    return deaths >= MAX_LOST_ATTEMPTS and (died_alone or not can_run_alone)
