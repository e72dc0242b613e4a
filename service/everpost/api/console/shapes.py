"""Drawings in pages, as SVG without inline style, which the policy of pages forbids: icons, bars and charts."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from math import log
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

ICONS = Path(__file__).with_name("icons.toml")
WIDTH, HEIGHT = 600, 120  # of a chart in its own units; the page stretches it
DECADES = tuple(10.0**power for power in range(-3, 7))  # seconds


class Bar(NamedTuple):
    """A bar of a chart: its name, its numbers in words, and the number of each kind, from below."""

    name: str
    told: str
    parts: Mapping[str, int]


class Line(NamedTuple):
    """A line of a chart: its kind, and seconds at equal distances; None where there is no value."""

    kind: str
    values: Sequence[float | None]


def icon(name: str) -> Markup:
    """An icon beside a text that says the same."""
    return Markup('<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">{}</svg>').format(_drawings()[name])


@cache
def _drawings() -> dict[str, Markup]:
    with ICONS.open("rb") as file:
        return {name: Markup(drawing) for name, drawing in tomllib.load(file).items()}  # noqa: S704 - the package's own


def share_bar(part: float, whole: float, label: str) -> Markup:
    """A bar of which a part is filled; `label` says it in words."""
    filled = 0.0 if whole <= 0 else max(0.0, min(1.0, part / whole)) * 100
    return Markup(
        '<svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="rest" width="100" height="4" rx="2"/><rect class="part" width="{:.2f}" height="4" rx="2"/></svg>'
    ).format(label, filled)


def spark(values: Sequence[int], label: str, kind: str = "failed") -> Markup:
    """Small bars without an axis; `label` says in words what they show."""
    most = max([1, *values])
    width = 100 / max(1, len(values))
    bars = (_spark_bar(n * width, width, value / most) for n, value in enumerate(values) if value)
    return Markup(
        '<svg class="spark {}" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="floor" y="19" width="100" height="1"/>{}</svg>'
    ).format(kind, label, Markup("").join(bars))


def _spark_bar(x: float, width: float, share: float) -> Markup:
    height = max(2.0, 19 * share)
    return Markup('<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
        x, 19 - height, max(0.6, width * 0.78), height
    )


def bars(of: Sequence[Bar], most: int, label: str) -> Markup:
    """Stacked bars, each with a title that names its numbers.

    Args:
        most: The number at the top of the chart.
    """
    width = WIDTH / max(1, len(of))
    drawn = (_bar(bar, n * width, width, max(1, most)) for n, bar in enumerate(of))
    return _chart("bars", label, Markup("").join(drawn))


def _bar(bar: Bar, x: float, width: float, most: int) -> Markup:
    parts, top = [Markup('<rect class="hit" x="{:.2f}" width="{:.2f}" height="{}"/>').format(x, width, HEIGHT)], 0.0
    for kind, number in bar.parts.items():
        height = HEIGHT * number / most
        top += height
        if number:
            parts.append(
                Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
                    kind, x + width * 0.11, HEIGHT - top, width * 0.78, max(height, 0.75)
                )
            )
    return Markup("<g><title>{}: {}</title>{}</g>").format(bar.name, bar.told or "0", Markup("").join(parts))


def lines(of: Sequence[Line], label: str) -> Markup:
    """Lines of durations, on a logarithmic scale; `marks` has its lines."""
    low, high = _decades(of)
    grid = Markup("").join(
        Markup('<line class="grid" x2="{}" y1="{:.2f}" y2="{:.2f}"/>').format(
            WIDTH, _y(mark, low, high), _y(mark, low, high)
        )
        for mark in marks(of)
    )
    drawn = Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(line.kind, _path(line.values, low, high)) for line in of
    )
    return _chart("lines", label, grid + drawn)


def marks(of: Sequence[Line]) -> list[float]:
    """The durations that have a line across the chart, the longest first."""
    low, high = _decades(of)
    return [mark for mark in reversed(DECADES) if low <= mark <= high]


def _decades(of: Sequence[Line]) -> tuple[float, float]:
    values = [value for line in of for value in line.values if value is not None]
    least, most = min(values, default=0.01), max(values, default=1.0)
    low = max((mark for mark in DECADES if mark <= least), default=DECADES[0])
    high = min((mark for mark in DECADES if mark >= most), default=DECADES[-1])
    return low, high if high > low else low * 10


def _path(values: Sequence[float | None], low: float, high: float) -> str:
    step = WIDTH / max(1, len(values) - 1)
    parts, is_drawing = [], False
    for n, value in enumerate(values):
        if value is None:
            is_drawing = False
            continue
        y = _y(value, low, high)
        parts.append(f"{'L' if is_drawing else 'M'}{n * step:.1f} {y:.1f}")
        if not is_drawing:
            parts.append(f"h{1 if n else 0.1}")  # a value alone is a point
        is_drawing = True
    return "".join(parts)


def _y(value: float, low: float, high: float) -> float:
    share = log(max(value, low) / low) / log(high / low)
    return (1 - min(1.0, share)) * (HEIGHT - 4) + 2


def _chart(kind: str, label: str, content: Markup) -> Markup:
    return Markup(
        '<svg class="chart {}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(kind, WIDTH, HEIGHT, label, content)


def stacked(counts: Mapping[str, int], label: str) -> Markup:
    """A bar whose parts are the numbers of tasks by status; `label` says in words what it shows."""
    whole, x, parts = max(1, sum(counts.values())), 0.0, []
    for status in sorted(counts, key=_ORDER_OF_PARTS.index if set(counts) <= {*_ORDER_OF_PARTS} else str):
        width = 100 * counts[status] / whole
        parts.append(
            Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="4"/>').format(status or "other", x, width)
        )
        x += width
    return Markup(
        '<svg class="share stacked" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(label, Markup("").join(parts))


_ORDER_OF_PARTS = ["success", "running", "pending", "scheduled", "retry", "cancelled", "unknown", "failed", ""]
