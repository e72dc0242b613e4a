"""How long ago an attempt first used its key, told by clocks that may have been set wrongly (I6)."""

from collections.abc import Iterable

import msgspec

from everpost.clock import SinceBoot, from_text
from everpost.task.earlier_attempts import OpenAttempt

LATE_MS = 2_000  # processes read the clock in another order than they write what it said


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """What all clocks say now.

    Attributes:
        wall_ms: UTC milliseconds.
        seen_ms: The most the wall clock has said to other workers of late, as far as is known; see `ClockMark`.
    """

    wall_ms: int
    since_boot: SinceBoot
    seen_ms: int | None = None


def age_of_oldest(attempts: Iterable[OpenAttempt], present: Present) -> float | None:
    """Seconds since the first of the attempts began, at least; None if no clock tells."""
    ages = [_age_s(attempt, present) for attempt in attempts]
    known = [age for age in ages if age is not None]
    return max(known) if len(known) == len(ages) else None


def _age_s(attempt: OpenAttempt, present: Present) -> float | None:
    """The larger of two ages, by the host's time since its boot and by the wall clock: too large is the lesser evil.

    After another boot, or where the host does not tell its time, only the wall clock is left. If it says less than when
    the attempt began, or less than another worker saw, it was set back, and the age is not known.
    """
    wall_ms = _wall_age_ms(attempt, present)
    began, now = attempt.since_boot, present.since_boot
    if began is not None and began.boot and began.boot == now.boot:
        return None if now.ms < began.ms else max(now.ms - began.ms, wall_ms or 0) / 1000
    return None if wall_ms is None else wall_ms / 1000


def _wall_age_ms(attempt: OpenAttempt, present: Present) -> int | None:
    try:
        began_ms = from_text(attempt.started_at)
    except ValueError:  # a stranger wrote into the column
        return None
    if began_ms is None or present.wall_ms < max(began_ms, present.seen_ms or 0) - LATE_MS:
        return None
    return max(0, present.wall_ms - began_ms)
