"""Decides whether a task begins too late: a pure function of its latest time to begin."""

from typing import Any

from everpost.clock import stored_time_ms, to_text
from everpost.settings import MOST_S


def latest_start_ms(late_after_s: Any, default_s: float | None, due_at_ms: int | None, now_ms: int) -> int | None:
    """The latest time to begin a task that may begin from `now_ms` on, in UTC milliseconds; None is no limit.

    Args:
        late_after_s: What the task's data has; a value that is not a valid limit does not count.
        default_s: Its platform's limit.
    """
    if late_after_s is None and default_s is None:
        return None
    is_limit = isinstance(late_after_s, int | float) and type(late_after_s) is not bool and 0 < late_after_s <= MOST_S
    limit_s = late_after_s if is_limit else default_s
    return None if limit_s is None else max(due_at_ms or 0, now_ms) + round(limit_s * 1000)


def is_missed(late_at: str, now_ms: int, *, may_be_sent: bool) -> bool:
    """Whether a task ends as missed at `now_ms`, instead of beginning an attempt.

    Args:
        late_at: The latest time to begin, as stored.
        may_be_sent: An earlier attempt may have reached the platform. Such a task is never missed.
    """
    latest_ms = stored_time_ms(late_at)
    return latest_ms is not None and not may_be_sent and now_ms > latest_ms


def missed_message(late_at: str, now_ms: int, last_error: str | None) -> str:
    """Why a task was missed, for people."""
    then = f"; its last attempt failed: {last_error}" if last_error else ""
    return f"It could not begin by {late_at}, and was not begun at {to_text(now_ms)} any more{then}"
