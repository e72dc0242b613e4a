"""The calendar of what is due."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from everpost.api.console.frame import render
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import reach_of
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue
from everpost.views.agenda import Agenda, Day, Range, Upcoming, find_agenda
from everpost.views.shown_tasks import TaskRow

WEEKS = 5
ROWS = 100


class Cell(NamedTuple):
    """A day of the calendar; `is_open` says that the list below shows it."""

    day: Day
    number: int
    month: int
    is_today: bool
    is_past: bool
    is_open: bool


async def show_schedule(request: ApiRequest) -> JsonAnswer:
    """Answer with five weeks, and what is due on one of their days, or on all."""
    services = services_of(request)
    zone, now_ms = services.settings.zone, services.clock()
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone).date()
    opened = _date(request.query_params.get("day"))
    first = _date(request.query_params.get("from")) or (opened or today)
    monday = first - timedelta(days=first.weekday())
    weeks = Range(monday, monday + timedelta(days=7 * WEEKS - 1), zone)
    listed = weeks if opened is None else Range(opened, opened, zone)
    reach, cursor = reach_of(services, caller_of(request)), request.query_params.get("cursor")
    whole = await find_agenda(services.store, services.zones, services.hiding, weeks, now_ms, None, 1, reach)
    agenda = await find_agenda(services.store, services.zones, services.hiding, listed, now_ms, cursor, ROWS, reach)
    return render(
        request,
        "schedule.html",
        cells=_cells(whole, today, opened),
        agenda=agenda,
        entries=_entries(agenda),
        opened=opened,
        first=monday,
        earlier=monday - timedelta(days=7 * WEEKS),
        later=monday + timedelta(days=7 * WEEKS),
        most=max([1, *(day.tasks + day.occurrences for day in whole.days)]),
    )


def _entries(agenda: Agenda) -> list[tuple[str, TaskRow | Upcoming]]:
    """Tasks and occurrences in the order of their times; if more tasks follow, none that is later than these."""
    tasks = [(row.due_at or "", row) for row in agenda.tasks]
    last = tasks[-1][0] if tasks and agenda.next_cursor else "~"
    found: list[tuple[str, TaskRow | Upcoming]] = [
        *tasks,
        *((one.at, one) for one in agenda.upcoming if one.at <= last),
    ]
    return sorted(found, key=lambda entry: entry[0])[: 2 * ROWS]


def _date(text: str | None) -> date | None:
    try:
        return None if not text else date.fromisoformat(text)
    except ValueError as error:
        raise InvalidValue(f"{text!r} is not a date such as 2026-01-31.", "$.day") from error


def _cells(agenda: Agenda, today: date, opened: date | None) -> list[Cell]:
    dates = [(day, date.fromisoformat(day.date)) for day in agenda.days]
    return [Cell(day, at.day, at.month, at == today, at < today, at == opened) for day, at in dates]
