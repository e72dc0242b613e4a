"""Times: UTC milliseconds inside Everpost, ISO 8601 text with milliseconds and `Z` in tables and answers."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import cache, lru_cache
from pathlib import Path

import msgspec

Clock = Callable[[], int]
"""Returns the present time in UTC milliseconds since the epoch; the composition roots pass it in."""


DAY_MS = 86_400_000
UNSTEADY_MS = 50  # a server's clock is not set anew for less
SLEEPLESS = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # only Linux has CLOCK_BOOTTIME: clock_gettime(2)
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999  # years 1 and 9999, the limits of datetime


def system_clock() -> int:
    """The machine's time, in UTC milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class ServerTime(msgspec.Struct, frozen=True):
    """A server's answer to the question for its time: UTC milliseconds, between two readings of `monotonic_ms`."""

    server_ms: int
    asked_ms: float
    answered_ms: float


class ServerClock:
    """The clock of a server that all hosts ask, such as the database's. Calling it makes it a `Clock`.

    Between the server's answers it goes on with this host's monotonic clock. So the wall clocks of the hosts, and jumps
    of them, do not matter. Before the first answer it is this host's wall clock.
    """

    def __init__(self) -> None:
        self._zero_ms: float | None = None  # the server's time when this host's monotonic clock was zero

    def __call__(self) -> int:
        """The server's time, in UTC milliseconds since the epoch."""
        return system_clock() if self._zero_ms is None else round(self._zero_ms + monotonic_ms())

    @property
    def host_ahead_ms(self) -> int:
        """How far this host's wall clock is ahead of the server's; negative if it is behind."""
        return system_clock() - self()

    def learn(self, told: ServerTime) -> None:
        """Note what the server answered."""
        unsure_ms = (told.answered_ms - told.asked_ms) / 2
        zero_ms = told.server_ms - told.asked_ms - unsure_ms
        if self._zero_ms is None or abs(zero_ms - self._zero_ms) > unsure_ms + UNSTEADY_MS:
            self._zero_ms = zero_ms


def monotonic_ms() -> float:
    """The time since this host's boot; it goes on while the host sleeps."""
    return time.clock_gettime_ns(SLEEPLESS) / 1_000_000


class SinceBoot(msgspec.Struct, frozen=True):
    """The time since a boot of this host. It advances while the host sleeps, and does not change with the wall clock.

    Attributes:
        boot: The id of that boot; empty if the host has none, and then the time cannot be compared.
        ms: Milliseconds since that boot.
    """

    boot: str
    ms: int


BootClock = Callable[[], SinceBoot]
"""Returns the time since the boot; for ages that must stay right when the wall clock is set."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)


def system_boot_clock() -> SinceBoot:
    """The time since the machine's boot; containers on one kernel share it."""
    return SinceBoot(_boot_id(), time.clock_gettime_ns(SLEEPLESS) // 1_000_000)


@cache
def _boot_id() -> str:
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


@lru_cache(maxsize=1_024)  # tasks of one batch share few moments
def to_text(time_ms: int) -> str:
    """The time in the form of tables and answers: `2026-01-31T12:00:00.000Z`."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{_second_as_text(seconds)}.{ms:03}Z"


@lru_cache(maxsize=1_024)  # many tasks share one second
def _second_as_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


def to_text_or_none(time_ms: int | None) -> str | None:
    """`to_text`, for a time that may be absent."""
    return None if time_ms is None else to_text(time_ms)


def from_text(text: str | None) -> int | None:
    """UTC milliseconds of a text that `to_text` wrote."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def stored_time_ms(text: str | None) -> int | None:
    """As `from_text`; None also for a text that another program wrote."""
    try:
        return from_text(text)
    except (ValueError, OverflowError):
        return None


def read_time(text: str, timezone: tzinfo) -> int:
    """UTC milliseconds of an ISO 8601 date or time. A time without an offset is read in `timezone`.

    The original's form `YYYY-MM-DD HH:MM[:SS]` is accepted too.

    Raises:
        ValueError: The text is not such a time, or is outside the years 1 to 9999 in UTC.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone)
    time_ms = round(moment.timestamp() * 1000)
    if not FIRST_MS <= time_ms <= LAST_MS:
        raise ValueError(text)
    return time_ms


def utc_text(stored: object, timezone: tzinfo) -> str | None:
    """A stored time in the form of answers. Inherited rows hold naive local times. Unreadable values are not changed.

    SQLite does not enforce a column's type, so a value may also be a number or a blob.
    """
    if stored is None or (type(stored) is str and stored[-1:] == "Z"):  # almost all, and a page has thousands
        return stored
    text = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
    if text.endswith("Z"):
        return text
    try:
        return to_text(read_time(text, timezone))
    except (ValueError, OverflowError):
        return text
