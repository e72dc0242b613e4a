"""What is due in a time: scheduled tasks, their numbers by day, and the occurrences of recurring posts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo

import msgspec

from everpost.clock import from_text, to_text
from everpost.errors import InvalidValue
from everpost.store import Store
from everpost.store.account_zones import AccountZones
from everpost.store.history import TaskRow as StoredRow
from everpost.store.history import Total, is_reached
from everpost.store.recurring import MAX_PAGE
from everpost.task.recurrence import Recurrence, RecurrenceStatus, next_times
from everpost.views.hiding import Hiding
from everpost.views.shown_tasks import TaskRow, row_view

MOST_DAYS = 62
LOOKS = 20
MOST_OCCURRENCES = 500  # of one recurring post


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A day in the zone of the answer.

    Attributes:
        tasks: How many scheduled tasks are due; if `is_exact` is false, at least so many.
        occurrences: How many posts recurring posts will make: those of which no task exists yet.
    """

    date: str
    tasks: int
    is_exact: bool
    occurrences: int


class Upcoming(msgspec.Struct, frozen=True, kw_only=True):
    """A post that a recurring post will make."""

    at: str
    recurrence_id: str
    name: str
    platform: str
    account_id: str


class Agenda(msgspec.Struct, frozen=True, kw_only=True):
    """What is due, the earliest first. Times are UTC text.

    Attributes:
        upcoming: Of the same time as the page of tasks: all of them on the first page, none on later ones.
        next_cursor: The `cursor` of the next page of tasks; null on the last.
    """

    timezone: str
    days: Sequence[Day]
    tasks: Sequence[TaskRow]
    upcoming: Sequence[Upcoming]
    next_cursor: str | None


class Range(msgspec.Struct, frozen=True):
    """Whole days in a zone, the last one included."""

    first: date
    last: date
    zone: tzinfo

    def bounds_ms(self) -> list[int]:
        """When each of the days begins, and when the last one ends, in UTC milliseconds."""
        days = (self.last - self.first).days + 2
        return [self._start_ms(self.first + timedelta(days=number)) for number in range(days)]

    def day_of(self, time_ms: int) -> str:
        """The day of a time."""
        return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(self.zone).date().isoformat()

    def _start_ms(self, day: date) -> int:
        return round(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp() * 1000)


def read_range(first: str | None, last: str | None, now_ms: int, zone: tzinfo) -> Range:
    """The days from `first` to `last`; without them, 14 days from today.

    Raises:
        InvalidValue: One of them is not a date, or there are more than `MOST_DAYS`.
    """
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone).date()
    begin = today if first is None else _date(first, "$.first")
    end = begin + timedelta(days=13) if last is None else _date(last, "$.last")
    if not 0 <= (end - begin).days < MOST_DAYS:
        raise InvalidValue(f"Ask for 1 to {MOST_DAYS} days.", "$.last")
    return Range(begin, end, zone)


def _date(text: str, path: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidValue(f"{text!r} is not a date such as 2026-01-31.", path) from error


async def find_agenda(
    store: Store,
    zones: AccountZones,
    hiding: Hiding,
    days: Range,
    now_ms: int,
    cursor: str | None = None,
    limit: int = 50,
    reach: tuple[str, ...] | None = None,
) -> Agenda:
    """What is due on these days, or what of it is in `reach` (`TaskFilter`). Errors as in `History.page_due`.

    Of what is in `reach`, a page may have fewer tasks than `limit`, and not be the last.
    """
    bounds_ms = days.bounds_ms()
    tasks, following = await _tasks(store, bounds_ms[0], bounds_ms[-1], cursor, limit, reach)
    counts = await store.history.count_due(bounds_ms, reach)
    upcoming = await _upcoming(store, zones, max(now_ms, bounds_ms[0]), bounds_ms[-1])
    if reach is not None:
        upcoming = [one for one in upcoming if is_reached(reach, one.platform, one.account_id)]
    by_day: dict[str, int] = {}
    for one in upcoming:
        day = days.day_of(from_text(one.at) or 0)
        by_day[day] = by_day.get(day, 0) + 1
    return Agenda(
        timezone=str(days.zone),
        days=[_day(days, start_ms, count, by_day) for start_ms, count in zip(bounds_ms, counts, strict=False)],
        tasks=[row_view(hiding.row(row)) for row in tasks],
        upcoming=upcoming if cursor is None else (),
        next_cursor=following,
    )


async def _tasks(
    store: Store, from_ms: int, until_ms: int, cursor: str | None, limit: int, reach: tuple[str, ...] | None
) -> tuple[list[StoredRow], str | None]:
    """The next due tasks in `reach`, and the cursor behind them. At most `LOOKS` pages of all due tasks are read."""
    found: list[StoredRow] = []
    for _ in range(LOOKS):
        page = await store.history.page_due(from_ms, until_ms, cursor, limit - len(found))
        found += [row for row in page.items if reach is None or is_reached(reach, row.platform, row.account_id)]
        cursor = page.next_cursor
        if cursor is None or len(found) == limit or reach is None:
            break
    return found, cursor


def _day(days: Range, start_ms: int, count: Total, occurrences: Mapping[str, int]) -> Day:
    name = days.day_of(start_ms)
    return Day(date=name, tasks=count.total, is_exact=count.total_is_exact, occurrences=occurrences.get(name, 0))


async def _upcoming(store: Store, zones: AccountZones, from_ms: int, until_ms: int) -> list[Upcoming]:
    """The occurrences of the first `MAX_PAGE` recurring posts."""
    found: list[Upcoming] = []
    for recurrence in await store.recurring.page("", MAX_PAGE):
        if recurrence.status is RecurrenceStatus.ACTIVE and recurrence.next_at is not None:
            zone = await zones.of_recurrence(recurrence)
            found += _occurrences(recurrence, zone, from_ms, until_ms)
    return sorted(found, key=lambda one: (one.at, one.name))


def _occurrences(recurrence: Recurrence, zone: tzinfo, from_ms: int, until_ms: int) -> list[Upcoming]:
    begins_ms = max(from_ms, from_text(recurrence.next_at) or 0) - 1
    if begins_ms >= until_ms:
        return []
    return [
        Upcoming(
            at=to_text(time_ms),
            recurrence_id=recurrence.recurrence_id,
            name=recurrence.name,
            platform=recurrence.platform,
            account_id=recurrence.account_id,
        )
        for time_ms in next_times(recurrence, zone, begins_ms, MOST_OCCURRENCES)
        if time_ms < until_ms
    ]
