"""Output for people: tables and single tasks."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everpost.cli.output import as_json_text
from everpost.cli.times import relative_time
from everpost.printable import printable

STYLES = {
    "success": "green",
    "failed": "red",
    "unknown": "magenta",
    "cancelled": "dim",
    "running": "cyan",
    "retry": "yellow",
}
PIPED_COLUMNS = 200  # if the output is not a terminal
EVIDENCE = {"phase": "phase", "bytes_sent": "bytes sent", "last_words": "last words"}
LARGE = frozenset(
    {"task_data", "attempts", "decisions", "edits", "retries", "result", "raw_job", "checkpoint"}
)  # shown below the other fields of a task


def console() -> Console:
    """The console for standard output."""
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_COLUMNS)


def print_task(answer: Mapping[str, Any], now_ms: int) -> None:
    """Print everything known about a task."""
    task = answer["data"]
    screen = console()
    seen_from = now_ms if screen.is_terminal else None
    fields = {
        **task,
        "queue_position": answer.get("queue_position"),
        "progress": progress_text(task.get("progress")),
        "waits_for": waits_text(task.get("waits_for")),
    }
    _print_fields(screen, {name: value for name, value in fields.items() if name not in LARGE}, seen_from)
    _print_records(screen, "attempts", task.get("attempts") or [], seen_from)
    _print_records(screen, "decisions", task.get("decisions") or [], seen_from)
    if raw_job := task.get("raw_job"):
        screen.print(f"\n[bold]raw_job[/bold] ({raw_job['size_bytes']} bytes; --json has all of them in base64)")
        screen.print(printable(raw_job["text"]), markup=False, soft_wrap=True)
    for name in ("edits", "retries", "result", "checkpoint", "task_data"):
        if task.get(name) is not None and task[name] != []:
            screen.print(f"\n[bold]{name}[/bold]")
            screen.print(as_json_text(task[name]), markup=False, soft_wrap=True)
    if task.get("status") == "unknown":
        _advise(screen, task["task_id"])


def progress_text(progress: Mapping[str, Any] | None) -> str | None:
    """How far a running attempt has come, as people write it; None if it is not known."""
    if not progress:
        return None
    done, total, at = progress["done"], progress.get("total"), progress["at"]
    if not total:
        return f"{done:,}, {at}"
    return f"{done:,} of {total:,} ({100 * done / total:.0f} %), {at}"


def waits_text(waits_for: Mapping[str, Any] | None) -> str | None:
    """The limit, pause or hold that a task waits for; None if it waits for nothing of this kind."""
    if not waits_for:
        return None
    reason, until = waits_for.get("reason"), waits_for.get("until")
    told = f": {reason}" if reason else f" until {until}" if until else ""
    return f"{waits_for['kind']} {waits_for['scope']}{told}"


def _advise(screen: Console, task_id: str) -> None:
    screen.print("\nIt is not known whether it was published. Look at the platform, then decide:")
    for decision in ("--succeeded", "--send-again"):
        screen.print(f"  everpost resolve {printable(task_id)} {decision} --why TEXT", markup=False, soft_wrap=True)


def _print_records(screen: Console, title: str, records: object, now_ms: int | None) -> None:
    """Print records below each other, because terminals are too narrow for all members side by side."""
    if not isinstance(records, Sequence) or isinstance(records, str):
        return
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            continue
        screen.print(f"\n[bold]{title}[/bold] {number} of {len(records)}")
        fields = {EVIDENCE.get(name, name): value for name, value in with_evidence(record).items()}
        _print_fields(screen, {name: value for name, value in fields.items() if name != "evidence"}, now_ms)


def _print_fields(screen: Console, fields: Mapping[str, Any], now_ms: int | None) -> None:
    """Print names and values: wrapped on a terminal, otherwise one per line."""
    told = {
        escape(printable(name)): _cell_whole(name, value, now_ms)
        for name, value in fields.items()
        if value not in (None, [], "")
    }
    if screen.is_terminal:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in told.items():
            table.add_row(name, value)
        screen.print(table)
        return
    width = max(map(len, told), default=0)
    for name, value in told.items():
        screen.print(f"{name:{width}}  {value}", soft_wrap=True)


def _cell_whole(name: str, value: object, now_ms: int | None) -> str:
    text = printable(value) if isinstance(value, str) else as_json_text(value)
    style = STYLES.get(text) if name in {"status", "outcome"} else None
    if now_ms is not None and name.endswith("_at"):
        text += f" ({relative_time(text, now_ms)})"
    return f"[{style}]{escape(text)}[/{style}]" if style else escape(text)


def with_evidence(row: Mapping[str, Any]) -> dict[str, Any]:
    """A task or attempt with the members of its evidence, if it has any, as its own members."""
    return {**row, **(row.get("evidence") or {})}
