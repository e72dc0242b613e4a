"""The report: a table for people, JSON for programs."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from everpost.bench.machine import machine_line
from everpost.bench.metrics import METRIC_OF, METRICS, Metric, is_reached
from everpost.bench.plan import Plan
from everpost.bench.samples import Results, Summary, growth_ratios, ratio

LARGE = 100  # larger numbers have no decimals
MARKS = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: ""}


class Growth(msgspec.Struct, frozen=True):
    """The same measurements on a file that already has many rows.

    Attributes:
        ratios: Ratios of medians: the large file's divided by the small file's.
    """

    rows: int
    metrics: Mapping[str, Summary]
    ratios: Mapping[str, float]


class Measured(msgspec.Struct, frozen=True):
    """One metric: its description, its values, and what it is compared with."""

    title: str
    unit: str
    less_is_better: bool
    summary: Summary
    goal: float | None = None
    base: str | None = None
    ratio: float | None = None
    goal_ratio: float | None = None
    reached: bool | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, as `--json` prints it. It exists only if all work of the run was checked to be complete."""

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    plan: Plan
    metrics: Mapping[str, Measured]
    tasks_checked: int
    growth: Growth | None = None


def measured(results: Results) -> dict[str, Measured]:
    """Every measured metric, in the table's order."""
    found = {metric.name: _measured(metric, results) for metric in METRICS}
    return {name: value for name, value in found.items() if value is not None}


def grown(rows: int, small: Results, large: Results) -> Growth:
    """The large file's numbers beside the small file's."""
    return Growth(rows, {name: value.summary for name, value in measured(large).items()}, growth_ratios(small, large))


def _measured(metric: Metric, results: Results) -> Measured | None:
    summary = results.summary(metric.name)
    if summary is None:
        return None
    times = ratio(results, metric.name, metric.base) if metric.base else None
    return Measured(
        title=metric.title,
        unit=metric.unit,
        less_is_better=metric.less_is_better,
        summary=summary,
        goal=metric.goal,
        base=metric.base if times is not None else None,
        ratio=times,
        goal_ratio=metric.goal_ratio,
        reached=is_reached(metric, summary, times),
    )


def print_report(report: Report, screen: Console) -> None:
    """Print the tables."""
    screen.print(f"[dim]{machine_line(report.machine, report.versions)}[/dim]", soft_wrap=True)
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for title in ("", "min", "median", "max", "unit", "goal", "ratio", ""):
        table.add_column(title, justify="left" if title in {"", "unit"} else "right", no_wrap=True)
    for row in report.metrics.values():
        seen = row.summary
        cells = [number(seen.min), f"[bold]{number(seen.median)}[/bold]", number(seen.max), row.unit]
        table.add_row(row.title, *cells, _goal(row), _ratio(row), MARKS[row.reached])
    screen.print(table)
    if report.growth:
        _print_growth(report.growth, screen)
    runs, checked = report.plan.runs, report.tasks_checked
    screen.print(f"[dim]{runs} runs of each; {checked:,} tasks counted in the file: none lost, none repeated.[/dim]")


def _print_growth(growth: Growth, screen: Console) -> None:
    screen.print(f"\n[bold]With {growth.rows:,} rows in the history[/bold]")
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for title in ("", "min", "median", "max", "unit", "x empty"):
        table.add_column(title, justify="left" if title in {"", "unit"} else "right", no_wrap=True)
    for name, seen in growth.metrics.items():
        times = growth.ratios.get(name)
        shown = "" if times is None else f"{times:.2f}"
        metric = METRIC_OF[name]
        table.add_row(metric.title, *map(number, (seen.min, seen.median, seen.max)), metric.unit, shown)
    screen.print(table)


def number(value: float) -> str:
    """The number with at least three digits, and with thousands separators."""
    return f"{value:,.0f}" if value >= LARGE else f"{value:.3g}" if value < 1 else f"{value:.2f}"


def _goal(row: Measured) -> str:
    bound = "≤" if row.less_is_better else "≥"
    if row.goal is not None:
        return f"{bound} {row.goal:,g}"
    return f"{bound} {row.goal_ratio:g}x" if row.goal_ratio is not None else ""


def _ratio(row: Measured) -> str:
    return f"{row.ratio:.2f}x {row.base}" if row.ratio is not None else ""
