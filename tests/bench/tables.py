"""The tables of README.md and docs/benchmarks.md: a row a stack, a column for some metrics."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from everpost.bench.machine import machine_line
from everpost.bench.report import Report, number
from everpost.bench.samples import Results, Summary

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "answers/s": ("end_to_end_submit",),
    "end to end tasks/s": ("end_to_end",),
    "answer → recorded p50 / p99 ms, idle": ("recorded_p50", "recorded_p99"),
    "retry p50 ms, idle": ("retry_redis_p50",),
    "CPU ms a task: API + worker + Valkey": ("cpu_api", "cpu_worker", "cpu_valkey"),
    "memory MB: API + worker": ("rss_api", "rss_worker"),
}
SHORT = {title: names for title, names in COLUMNS.items() if not title.startswith(("answers", "retry"))}
"""The columns of the README."""
SEPARATORS = {"recorded_p99": " / "}


def summaries(results: Results) -> dict[str, Summary]:
    """Every metric's summary."""
    return {name: summary for name in results if (summary := results.summary(name))}


def table_of(stacks: Mapping[str, Mapping[str, Summary]], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The table's lines."""
    return [
        row_of("stack", list(columns)),
        f"|---|{'---|' * len(columns)}",
        *(row_of(title, [cell(seen, names) for names in columns.values()]) for title, seen in stacks.items()),
    ]


def row_of(title: str, cells: Sequence[str]) -> str:
    """A line of the table."""
    return f"| {title} | {' | '.join(cells)} |"


def cell(seen: Mapping[str, Summary], names: Sequence[str]) -> str:
    """The medians of some metrics."""
    shown = "".join(f"{SEPARATORS.get(name, ' + ')}{number(seen[name].median)}" for name in names if name in seen)
    return shown.removeprefix(" + ") or "-"


def head(ours: Report, command: str) -> str:
    """What was measured, on what, and how to do it again."""
    return (
        f"Medians of {ours.plan.runs} runs of {ours.plan.tasks:,} no-op tasks over {ours.plan.connections} "
        "connections, the load generator on the same machine; one API and one worker process each. "
        f"{command}, {datetime.now(UTC):%Y-%m-%d}, {machine_line(ours.machine, ours.versions)}."
    )


def short_head(ours: Report, command: str) -> str:
    """The command, the day and the machine."""
    machine = ours.machine
    return f"{command}, {datetime.now(UTC):%Y-%m-%d}, {machine['cores']} cores of {machine['cpu']}:"
