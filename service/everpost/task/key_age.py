"""The time since an attempt first used its key, even if clocks were set wrongly (I6)."""

from collections.abc import Iterable

import msgspec

from everpost.clock import SinceBoot, from_text
from everpost.task.earlier_attempts import OpenAttempt

LATE_MS = 2_000  # processes may read the clock in one order and write the result in another


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """The present time by all clocks.

    Attributes:
        wall_ms: UTC milliseconds.
        seen_ms: The highest wall time other workers have seen lately, if known; see `ClockMark`.
    """

    wall_ms: int
    since_boot: SinceBoot
    seen_ms: int | None = None


def age_of_oldest(attempts: Iterable[OpenAttempt], present: Present) -> float | None:
    """The least number of seconds since the first of the attempts began; None if no clock tells."""
    ages = [_age_s(attempt, present) for attempt in attempts]
    known = [age for age in ages if age is not None]
    return max(known) if len(known) == len(ages) else None


def _age_s(attempt: OpenAttempt, present: Present) -> float | None:
    """The larger of two ages: by the host's time since its boot, and by the wall clock. Too large does less harm.

    After another boot, or if the host has no such time, only the wall clock is left. If it is earlier than the
    attempt's begin, or than the time another worker saw, it was set back, and the age is unknown.
    """
    wall_ms = _wall_age_ms(attempt, present)
    began, now = attempt.since_boot, present.since_boot
    if began is not None and began.boot and began.boot == now.boot:
        return None if now.ms < began.ms else max(now.ms - began.ms, wall_ms or 0) / 1000
    return None if wall_ms is None else wall_ms / 1000


def _wall_age_ms(attempt: OpenAttempt, present: Present) -> int | None:
    try:
        began_ms = from_text(attempt.started_at)
    except ValueError:  # another program wrote into the column
        return None
    if began_ms is None or present.wall_ms < max(began_ms, present.seen_ms or 0) - LATE_MS:
        return None
    return max(0, present.wall_ms - began_ms)
