"""Cron expressions: the times they name in a time zone.

The library is `cronsim`. Where clocks are put forward or back, it does as Debian's cron does: a post at a fixed time
that is skipped is made at the first time after the gap, and a fixed time that comes twice is used once.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from everpost.errors import InvalidValue

CRON_PATH = "$.cron"
LONGEST = 256  # characters
MINUTE = timedelta(minutes=1)


def check_cron(cron: str) -> None:
    """Check an expression of five fields: minute, hour, day of month, month, day of week.

    Raises:
        InvalidValue: It is not one, or names no time.
    """
    if len(cron) > LONGEST:
        raise InvalidValue(f"A cron expression has at most {LONGEST} characters.", CRON_PATH)
    if len(cron.split()) != 5:  # noqa: PLR2004 - the docstring names them
        raise InvalidValue(
            "A cron expression has five fields: minute, hour, day of month, month, day of week.", CRON_PATH
        )
    if next(_datetimes(cron, datetime(2024, 1, 1, tzinfo=UTC)), None) is None:
        raise InvalidValue(f"{cron!r} names no time in the next 50 years.", CRON_PATH)


def times_after(cron: str, zone: tzinfo, after_ms: int) -> Iterator[int]:
    """The times of an expression after `after_ms`, in UTC milliseconds. Raises the errors of `check_cron`."""
    for moment in _datetimes(cron, datetime.fromtimestamp(after_ms / 1000, UTC).astimezone(zone)):
        time_ms = round(moment.timestamp() * 1000)
        if (
            time_ms > after_ms
        ):  # the library begins with a whole minute, and where clocks are put back may repeat itself
            yield time_ms
            after_ms = time_ms


def last_time_until(cron: str, zone: tzinfo, until_ms: int) -> int | None:
    """The last time of an expression up to `until_ms`, in UTC milliseconds; None if it had none for 50 years."""
    until = datetime.fromtimestamp(until_ms / 1000, UTC).astimezone(zone)
    for moment in _datetimes(cron, (until.astimezone(UTC) + 2 * MINUTE).astimezone(zone), reverse=True):
        time_ms = round(moment.timestamp() * 1000)
        if time_ms <= until_ms:
            return time_ms
    return None


def _datetimes(cron: str, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only recurring posts need it

    try:
        yield from CronSim(cron, start, reverse=reverse)
    except CronSimError as error:
        raise InvalidValue(f"{cron!r} is not a cron expression: {error}.", CRON_PATH) from error
    except (AssertionError, OverflowError, TypeError, ValueError) as error:  # odd terms, such as 5L/2
        raise InvalidValue(f"{cron!r} is not a cron expression.", CRON_PATH) from error
