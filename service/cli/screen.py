"""What the commands print: tables for people, JSON for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli.output import as_json_text
from service.printable import printable

STYLES = {
    "success": "green",
    "failed": "red",
    "unknown": "magenta",
    "cancelled": "dim",
    "running": "cyan",
    "retry": "yellow",
}
PIPED_COLUMNS = 200  # of output that goes to no terminal
LONGEST = 60  # characters of a cell in a list
EVIDENCE = {"phase": "phase", "bytes_sent": "bytes sent", "last_words": "last words"}
LARGE = frozenset(
    {"task_data", "attempts", "decisions", "retries", "result", "raw_job"}
)  # shown below the other fields of a task


def console() -> Console:
    """Where people read."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_COLUMNS)


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """A table of some members of the rows, each under its title; ids are never cut."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name, title in columns.items():
        table.add_column(title, no_wrap=True, overflow="fold" if name.endswith("_id") else "ellipsis")
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for name in columns))
    console().print(table)


def _cell(name: str, value: object) -> str:
    text = "" if value is None else printable(" ".join(str(value).split()))
    if name != "task_id" and len(text) > LONGEST:
        text = f"{text[: LONGEST - 1]}…"
    style = STYLES.get(text) if name == "status" else None
    return f"[{style}]{text}[/{style}]" if style else escape(text)


def print_task(answer: Mapping[str, Any]) -> None:
    """Everything known of a task."""
    task = answer["data"]
    screen = console()
    table = Table(box=None, show_header=False, padding=(0, 1))
    for name, value in {**task, "queue_position": answer.get("queue_position")}.items():
        if name not in LARGE and value not in (None, [], ""):
            table.add_row(f"[bold]{name}[/bold]", _cell_whole(name, value))
    screen.print(table)
    _print_attempts(task.get("attempts") or [])
    _print_decisions(task.get("decisions") or [])
    if raw_job := task.get("raw_job"):
        screen.print(f"\n[bold]raw_job[/bold] ({raw_job['size_bytes']} bytes; --json has all of them in base64)")
        screen.print(raw_job["text"], markup=False, soft_wrap=True)
    for name in ("retries", "result", "task_data"):
        if task.get(name):
            screen.print(f"\n[bold]{name}[/bold]")
            screen.print(as_json_text(task[name]), markup=False, soft_wrap=True)


def _cell_whole(name: str, value: object) -> str:
    text = printable(value) if isinstance(value, str) else as_json_text(value)
    style = STYLES.get(text) if name == "status" else None
    return f"[{style}]{text}[/{style}]" if style else escape(text)


def _print_attempts(attempts: object) -> None:
    if not isinstance(attempts, Sequence) or not attempts or isinstance(attempts, str):
        return
    console().print("\n[bold]attempts[/bold]")
    names = ("number", "outcome", "started_at", "finished_at", "error_class", "error")
    told = [with_evidence(attempt) for attempt in attempts if isinstance(attempt, Mapping)]
    evidence = EVIDENCE if any("phase" in attempt for attempt in told) else {}
    print_rows(told, {**{name: name for name in names}, **evidence})


def _print_decisions(decisions: Sequence[Mapping[str, Any]]) -> None:
    if decisions:
        console().print("\n[bold]decisions[/bold]")
        names = ("task_id", "decision", "decided_at", "decided_by", "why", "new_task_id")
        print_rows(decisions, {name: name for name in names})


def with_evidence(row: Mapping[str, Any]) -> dict[str, Any]:
    """A task or attempt with its evidence, if it has any, as members of its own."""
    return {**row, **(row.get("evidence") or {})}
