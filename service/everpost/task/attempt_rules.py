"""Decides what follows a failed attempt: a pure function from its error to the next step."""

import random
from collections.abc import Callable
from enum import Enum

import msgspec

from everpost.task.model import ErrorClass, TaskStatus

BACKOFF_BASE_S = 2.0
BACKOFF_CAP_S = 600.0
RATE_LIMIT_WAIT_S = 60.0  # if the platform does not name a time
RATE_LIMIT_FLOOR_S = 1.0  # the shortest first pause; each further pause doubles,
RATE_LIMIT_CAP_S = 600.0  # up to this limit
RATE_LIMIT_SPREAD = 0.1  # random part added to a pause, so that tasks limited together do not return together
LONGEST_WAIT_S = 86_400.0  # the longest wait a platform can ask for
MAX_LOST_ATTEMPTS = 3  # deaths of processes after which a task may be taken for the cause
MOST_LOST_ATTEMPTS = 10  # the same for a task that never ended alone, for example because it kills the worker too


WAITS_FOR_DECISION = frozenset({ErrorClass.UNKNOWN, ErrorClass.MANUAL})
"""Errors after which a person decides what became of the task."""


class CellKind(Enum):
    """The process an attempt runs in. It is chosen so that a task which kills its process ends few other attempts."""

    NONE = "none"  # the worker itself
    SHARED = "shared"  # a child process that runs only tasks whose last process died
    OWN = "own"  # a child process that runs only this task


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
        count: Rate-limited attempts.
        paused_s: The sum of the requested pauses, in seconds. It uses no clock, so a clock set ahead does not end a
            task.
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
    backoff_base_s: float = BACKOFF_BASE_S,
    backoff_max_s: float = BACKOFF_CAP_S,
    jitter: Callable[[float, float], float] = random.uniform,
) -> NextAttempt | Ended:
    """What follows a failed attempt.

    Args:
        may_rerun: The publisher's class allows a repetition if the outcome is unknown.
        spent: Attempts that count so far, without this one.
        retry_after_s: The wait the platform asked for; used if it is positive, up to `LONGEST_WAIT_S`.
        limits: What rate limits have cost the task before this attempt.
        backoff_base_s: The longest wait after the first attempt; it doubles with each one that counts,
        backoff_max_s: up to this.
        rate_limit_deadline_s: Seconds of pauses for rate limits after which the task fails.
        jitter: Draws a delay between two bounds; full jitter, so that failures do not return in step (Brooker,
            "Exponential Backoff And Jitter", 2015).
    """
    asked_s = min(retry_after_s, LONGEST_WAIT_S) if retry_after_s is not None and retry_after_s > 0 else 0.0
    if error_class is ErrorClass.RATE_LIMITED:
        return _after_rate_limit(asked_s or RATE_LIMIT_WAIT_S, limits, rate_limit_deadline_s, jitter)
    again = error_class is ErrorClass.TRANSIENT or (error_class is ErrorClass.UNKNOWN and may_rerun)
    if again and spent + 1 < max_attempts:
        backoff_s = jitter(0, min(backoff_max_s, backoff_base_s * 2**spent))
        return NextAttempt(max(backoff_s, asked_s), spends=True)
    return Ended(TaskStatus.UNKNOWN if error_class in WAITS_FOR_DECISION else TaskStatus.FAILED)


def pause_of_account_s(retry_after_s: float | None) -> float:
    """For how long no task of an account begins, after its platform answered that the account is too fast."""
    is_named = retry_after_s is not None and retry_after_s > 0
    return min(retry_after_s, LONGEST_WAIT_S) if is_named and retry_after_s is not None else RATE_LIMIT_WAIT_S


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
    """The process in which a task runs after this many deaths of processes that may have been inside its publisher.

    One death proves little: when a machine kills a worker, dozens of tasks were running, and all can continue side by
    side. After a second death, each task runs alone. Then a death proves which task caused it.
    """
    if deaths == 0:
        return CellKind.NONE
    return CellKind.SHARED if deaths == 1 else CellKind.OWN


def kills_its_workers(deaths: int, *, died_alone: bool, can_run_alone: bool) -> bool:
    """Whether a task is taken for the cause of its processes' deaths, and is given up.

    Args:
        deaths: How many processes died while they had the task.
        died_alone: One of them ran nothing else.
        can_run_alone: This worker can run the task alone; otherwise only the number of deaths counts.
    """
    if deaths >= MOST_LOST_ATTEMPTS:
        return True
    return deaths >= MAX_LOST_ATTEMPTS and (died_alone or not can_run_alone)
