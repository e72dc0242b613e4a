"""Times: UTC milliseconds inside, ISO 8601 text with milliseconds and `Z` outside."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import cache, lru_cache
from pathlib import Path

import msgspec

Clock = Callable[[], int]
"""Gives the present as UTC milliseconds since the epoch; handed in at the composition roots."""


FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 and 9999, which datetime ends at


def system_clock() -> int:
    """The machine's time, in UTC milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class SinceBoot(msgspec.Struct, frozen=True):
    """The time since a boot of this host. It goes on while the host sleeps, and setting the wall clock leaves it alone.

    Attributes:
        boot: Which boot it was; empty where the host does not say, and such times are compared with nothing.
        ms: Milliseconds since.
    """

    boot: str
    ms: int


BootClock = Callable[[], SinceBoot]
"""Gives the present as time since the boot; handed in beside `Clock` where an age must survive a clock that is set."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)


def system_boot_clock() -> SinceBoot:
    """The time since the machine's boot; containers on one kernel share it."""
    source = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux alone has the first: clock_gettime(2)
    return SinceBoot(_boot_id(), time.clock_gettime_ns(source) // 1_000_000)


@cache
def _boot_id() -> str:
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


@lru_cache(maxsize=1_024)  # many tasks share one moment
def to_text(time_ms: int) -> str:
    """The time as every table and answer has it: `2026-01-31T12:00:00.000Z`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def to_text_or_none(time_ms: int | None) -> str | None:
    """`to_text`, for a time that may be absent."""
    return None if time_ms is None else to_text(time_ms)


def from_text(text: str | None) -> int | None:
    """UTC milliseconds of a text that `to_text` wrote."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def read_time(text: str, timezone: tzinfo) -> int:
    """UTC milliseconds of an ISO 8601 date or time; one without an offset is read in `timezone`.

    The original's `YYYY-MM-DD HH:MM[:SS]` is one of them.

    Raises:
        ValueError: The text is no such time, or outside the years 1 to 9999 in UTC.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone)
    time_ms = round(moment.timestamp() * 1000)
    if not FIRST_MS <= time_ms <= LAST_MS:
        raise ValueError(text)
    return time_ms


def utc_text(stored: object, timezone: tzinfo) -> str | None:
    """A stored time as answers have it. Inherited rows hold naive local times; what cannot be read stays as it is.

    SQLite keeps a number or a blob in a column of times as that.
    """
    if stored is None:
        return None
    text = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
    if text.endswith("Z"):
        return text
    try:
        return to_text(read_time(text, timezone))
    except (ValueError, OverflowError):
        return text
