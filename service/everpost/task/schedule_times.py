"""The times at which clients want tasks to run, in time zones whose clocks are put forward and back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

import msgspec

from everpost.clock import FIRST_MS, LAST_MS
from everpost.errors import InvalidValue, SkippedTime

SHOWN_CHARACTERS = 64  # of a time that cannot be read
SCHEDULE_PATH = "$.schedule_time"
MINUTE = timedelta(minutes=1)


class PlacedTime(msgspec.Struct, frozen=True):
    """A wanted time.

    Attributes:
        time_ms: In UTC milliseconds.
        warning: Which of two times was taken, if the wanted one comes twice because clocks are put back.
    """

    time_ms: int
    warning: str | None = None


def local_text(time_ms: int, zone: tzinfo) -> str:
    """A time with the offset of its zone, as a `schedule_time`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(zone).isoformat(timespec="milliseconds")


def needs_zone(data: object) -> bool:
    """Whether a task's decoded JSON has a time that may have to be read in its account's zone."""
    return isinstance(data, dict) and data.get("schedule_time") is not None


def is_local(text: str) -> bool:
    """Whether a time that `read_moment` can read has no offset."""
    return read_moment(text).tzinfo is None


def read_moment(text: str, path: str = SCHEDULE_PATH) -> datetime:
    """The date and time that a text names: ISO 8601, or the original's `YYYY-MM-DD HH:MM[:SS]`.

    Raises:
        InvalidValue: It names none.
    """
    try:
        return datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as error:
        raise unreadable_time(text, path) from error


def unreadable_time(text: str, path: str) -> InvalidValue:
    """The refusal of a text that is not a time."""
    return InvalidValue(f"{text[:SHOWN_CHARACTERS]!r} is not a date and time like 2026-01-31T18:00:00+08:00.", path)


def place_time(moment: datetime, zone: tzinfo, fold: int | None = None, path: str = SCHEDULE_PATH) -> PlacedTime:
    """The time of a date and time. Without an offset, it is a time of the clocks in `zone`.

    Args:
        fold: Of a time that comes twice: 0 takes the first, 1 the second (PEP 495); None the first, with a warning.

    Raises:
        SkippedTime: Clocks in the zone are put forward over the time.
        InvalidValue: It is outside the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is not None:
        return PlacedTime(_time_ms(moment, path))
    first, second = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    before, after = _offset(first), _offset(second)
    if before == after:
        return PlacedTime(_time_ms(first, path))
    if before < after:
        earlier, later = neighbours_of_gap(moment, zone)
        raise SkippedTime(f"{moment:%Y-%m-%d %H:%M:%S}", str(zone), (earlier.isoformat(), later.isoformat()), path)
    if fold is not None:
        return PlacedTime(_time_ms(second if fold else first, path))
    warning = (
        f"{moment:%Y-%m-%d %H:%M:%S} comes twice in {zone}. The first was taken, {first.isoformat()}; "
        f"schedule_fold=1 or the offset chooses the second, {second.isoformat()}."
    )
    return PlacedTime(_time_ms(first, path), warning)


def place_patiently(moment: datetime, zone: tzinfo, fold: int = 0) -> int:
    """UTC milliseconds of a date and time, as `place_time` places it, for a time that is not a client's new wish.

    A time that clocks are put forward over becomes the first one after it.
    """
    try:
        return place_time(moment, zone, fold).time_ms
    except SkippedTime:
        return _time_ms(neighbours_of_gap(moment, zone)[1], SCHEDULE_PATH)


def neighbours_of_gap(moment: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """The last whole minute before, and the first time after a gap of the clocks in `zone` that `moment` is in."""
    before, after = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    new_offset = _offset(after)
    # In UTC: read with the new offset, the moment is before the change of the clocks; with the old one, after it.
    naive = moment.replace(tzinfo=UTC)
    change = _first_second(
        naive - new_offset,
        naive - _offset(before),
        lambda instant: instant.astimezone(zone).utcoffset() == new_offset,
    )
    return (change - MINUTE).astimezone(zone), change.astimezone(zone)


def _first_second(low: datetime, high: datetime, is_reached: Callable[[datetime], bool]) -> datetime:
    """The first second in (low, high] at which something is reached that stays reached."""
    low, high = low.replace(microsecond=0), high.replace(microsecond=0)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low).total_seconds() // 2)
        low, high = (low, middle) if is_reached(middle) else (middle, high)
    return high


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta()


def _time_ms(moment: datetime, path: str) -> int:
    try:
        time_ms = round(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise unreadable_time(moment.isoformat(), path) from error
    if not FIRST_MS <= time_ms <= LAST_MS:
        raise unreadable_time(moment.isoformat(), path)
    return time_ms
