"""Places the tasks of a batch over a window of time, or at daily times. Pure."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from everpost.errors import InvalidValue
from everpost.task.schedule_times import place_patiently, place_time, read_moment

SPREAD_PATH = "$.spread"
DAILY_TIMES = (6, 11, 14, 16, 22)  # the original's hours
PAST_MS = 60_000  # a window may have begun so long ago: a request takes its time
LONGEST_MS = 366 * 86_400_000

DailyTime = Annotated[int, Meta(ge=0, le=23)] | Annotated[str, Meta(pattern=r"^([01]?[0-9]|2[0-3]):[0-5][0-9]\Z")]


class Places(Protocol):
    """The times that tasks get in one time zone."""

    def time_ms(self, number: int, count: int) -> int:
        """The time of the task with a number, of `count`, in UTC milliseconds. Daily times need no count."""


class Per(StrEnum):
    """Whose tasks are placed one after the other."""

    BATCH = "batch"
    ACCOUNT = "account"


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the tasks of a batch without a `schedule_time` of their own are placed: in a window, or at daily times."""

    begin: Annotated[
        str | None, Meta(description="The window's first time, which the first task gets; default: now")
    ] = msgspec.field(default=None, name="from")
    until: Annotated[str | None, Meta(description="The window's last time, which the last task gets")] = None
    daily_times: Annotated[
        Annotated[list[DailyTime], Meta(min_length=1, max_length=1_440)] | None,
        Meta(description="Hours, or HH:MM; default: 6, 11, 14, 16, 22"),
    ] = None
    videos_per_day: Annotated[
        Annotated[int, Meta(ge=1, le=1_440)] | None,
        Meta(description="How many of the daily times are used; default: all that are given, or 1"),
    ] = None
    start_days: Annotated[
        Annotated[int, Meta(ge=0, le=3_650)] | None,
        Meta(description="Days between tomorrow and the first day; 0 begins tomorrow"),
    ] = None
    timezone: Annotated[
        str | None, Meta(description="IANA name; default: the account's zone, or EVERPOST_TIMEZONE")
    ] = None
    per: Annotated[
        Per | None, Meta(description="Default: the tasks of each account for daily times, of the batch for a window")
    ] = None

    count: Annotated[
        Annotated[int, Meta(ge=1, le=10**9)] | None,
        Meta(description="In a stream with a window: how many tasks are placed, of each account if `per` says so"),
    ] = None

    @property
    def is_daily(self) -> bool:
        """Whether it names daily times, rather than a window."""
        return any(value is not None for value in (self.daily_times, self.videos_per_day, self.start_days))

    @property
    def counts_accounts(self) -> bool:
        """Whether each account's tasks are placed on their own."""
        return (self.per or (Per.ACCOUNT if self.is_daily else Per.BATCH)) is Per.ACCOUNT

    def check(self) -> None:
        """Check that its fields fit together.

        Raises:
            InvalidValue: They do not.
        """
        is_window = self.begin is not None or self.until is not None
        if self.is_daily and is_window:
            raise InvalidValue("Name a window (from, until) or daily times, not both.", SPREAD_PATH)
        if not self.is_daily and self.until is None:
            raise InvalidValue(
                "Name a window's end (until), or daily times (videos_per_day, daily_times).", SPREAD_PATH
            )
        if self.is_daily and self.count is not None:
            raise InvalidValue("Daily times need no count.", f"{SPREAD_PATH}.count")
        if self.is_daily and self._per_day > len(self._daily):
            path = f"{SPREAD_PATH}.videos_per_day"
            raise InvalidValue(f"There are {len(self._daily)} daily times, so at most as many a day.", path)

    def check_count(self, *, is_stream: bool) -> None:
        """Check that a stream in a window says how many tasks it has, and that a list does not.

        Raises:
            InvalidValue: It is otherwise.
        """
        if is_stream and not self.is_daily and self.count is None:
            raise InvalidValue("Say how many tasks the window is for, as a stream does not.", f"{SPREAD_PATH}.count")
        if not is_stream and self.count is not None:
            raise InvalidValue("Only a stream has a count; the tasks of a list are counted.", f"{SPREAD_PATH}.count")

    def places(self, zone: tzinfo, now_ms: int) -> Places:
        """The times in UTC milliseconds that tasks get.

        Args:
            zone: Of its times without an offset.

        Raises:
            InvalidValue: A time cannot be read, or the window is past, empty or longer than a year.
        """
        return self._days(zone, now_ms) if self.is_daily else self._window(zone, now_ms)

    @property
    def _daily(self) -> list[time]:
        return [_time_of(one) for one in self.daily_times or DAILY_TIMES]

    @property
    def _per_day(self) -> int:
        return self.videos_per_day or (1 if self.daily_times is None else len(self.daily_times))

    def _days(self, zone: tzinfo, now_ms: int) -> "Days":
        """As the original does it: the first day is tomorrow, or later by `start_days`."""
        today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone).date()
        return Days(today + timedelta(days=1 + (self.start_days or 0)), self._daily[: self._per_day], zone)

    def _window(self, zone: tzinfo, now_ms: int) -> "Window":
        begin_ms = now_ms if self.begin is None else _placed(self.begin, zone, f"{SPREAD_PATH}.from")
        end_ms = _placed(self.until or "", zone, f"{SPREAD_PATH}.until")
        if begin_ms < now_ms - PAST_MS:
            raise InvalidValue("The window has begun already.", f"{SPREAD_PATH}.from")
        if not begin_ms < end_ms <= begin_ms + LONGEST_MS:
            raise InvalidValue("The window ends before it begins, or is longer than a year.", f"{SPREAD_PATH}.until")
        return Window(begin_ms, end_ms)


class Days(msgspec.Struct, frozen=True):
    """The same times on each day from the first on."""

    first: date
    times: Sequence[time]
    zone: tzinfo

    def time_ms(self, number: int, count: int) -> int:
        """See `Places`."""
        del count
        days, slot = divmod(number, len(self.times))
        return place_patiently(datetime.combine(self.first + timedelta(days=days), self.times[slot]), self.zone)


class Window(msgspec.Struct, frozen=True):
    """Even distances: the first task is at the window's begin, the last at its end."""

    begin_ms: int
    end_ms: int

    def time_ms(self, number: int, count: int) -> int:
        """See `Places`."""
        return self.begin_ms + (self.end_ms - self.begin_ms) * number // max(count - 1, 1)


def _time_of(one: int | str) -> time:
    if isinstance(one, int):
        return time(one)
    hours, _, minutes = one.partition(":")
    return time(int(hours), int(minutes))


def _placed(text: str, zone: tzinfo, path: str) -> int:
    return place_time(read_moment(text, path), zone, path=path).time_ms
