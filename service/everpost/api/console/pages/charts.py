"""What ended in the last hour or day, as charts with their words."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from everpost.api.console.languages import Texts
from everpost.api.console.shapes import Bar, Line, bars, lines, marks
from everpost.task.model import TaskStatus
from everpost.views.ends_by_time import Durations, EndsByTime, EndsSlice

SHOWN = (TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.CANCELLED)
ROUND = (1, 2, 5)


class Ends(NamedTuple):
    """The chart of ends: the number at its top, and all of each status."""

    drawing: Markup
    most: int
    totals: Sequence[tuple[str, int]]


class Times(NamedTuple):
    """A chart of durations: the durations that have a line, and those of all together."""

    drawing: Markup
    marks: Sequence[float]
    whole: Durations


def ends_chart(texts: Texts, found: EndsByTime) -> Ends:
    """How many tasks ended in each slice, by status."""
    most = _round_up(max((sum(one.ends.values()) for one in found.data), default=0))
    names = {status: texts.text(f"status.{status}") for status in SHOWN}
    totals = [(str(status), found.whole.ends.get(status, 0)) for status in SHOWN]
    told = ", ".join(f"{names[TaskStatus(status)]} {number:,}" for status, number in totals)
    drawn = [_bar(one, names) for one in found.data]
    return Ends(bars(drawn, most, texts.text("charts.ends_label", told=told)), most, totals)


def times_chart(texts: Texts, found: EndsByTime, name: str) -> Times:
    """How long tasks waited (`wait`), or attempts took (`publish`): the median, and what one in a hundred exceeds."""
    of = [getattr(one, name) for one in found.data]
    drawn = [Line("p99", [one.p99_s for one in of]), Line("p50", [one.p50_s for one in of])]
    return Times(lines(drawn, texts.text(f"charts.{name}")), marks(drawn), getattr(found.whole, name))


def _bar(one: EndsSlice, names: dict[TaskStatus, str]) -> Bar:
    at = one.began_at[11:16]
    told = ", ".join(f"{names[status]} {one.ends[status]:,}" for status in SHOWN if one.ends.get(status))
    return Bar(f"{at} UTC", told, {str(status): one.ends.get(status, 0) for status in SHOWN})


def _round_up(number: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    step = 1
    while True:
        for times in ROUND:
            if step * times >= number:
                return step * times
        step *= 10
