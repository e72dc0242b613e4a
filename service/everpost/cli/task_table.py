"""The list of tasks, for a terminal of any width or for a pipe."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from everpost.cli.columns import GAP, LONGEST, Column, fit_columns, fit_text, natural_width
from everpost.cli.screen import EVIDENCE, STYLES, waits_text, with_evidence
from everpost.cli.times import relative_time
from everpost.printable import printable

COLUMNS = (
    Column("task_id", "task"),
    Column("status", "status"),
    Column("due_at", "due", rank=2),
    Column("created_at", "accepted", rank=1),
    Column("platform", "platform", rank=4),
    Column("account_id", "account", least=8, rank=5),
    Column("title", "title", least=16, comfort=32),
    Column("waits_for", "waits for", least=16, rank=3),
    Column("error_message", "error", least=16, rank=3),
    *(Column(name, title, least=8, rank=6) for name, title in EVIDENCE.items()),
)
TIMES = frozenset({"created_at", "due_at"})
INDENT = "  "
MOST_READ = 1_000  # characters; a longer text is cut in any case


def print_tasks(screen: Console, rows: Sequence[Mapping[str, Any]], now_ms: int) -> None:
    """Print a list of tasks: on a terminal with times relative to `now_ms`, in a pipe whole and with exact times."""
    width = screen.width if screen.is_terminal else None
    for line in lines_of(rows, width, now_ms):
        screen.print(line, soft_wrap=True)


def lines_of(rows: Sequence[Mapping[str, Any]], width: int | None, now_ms: int) -> Iterator[Text]:
    """The lines of a list, titles first. A `width` of None means a pipe, which shows all columns."""
    told = [_texts_of(row, now_ms if width is not None else None) for row in rows]
    given = [column for column in COLUMNS if column.rank == 0 or any(row[column.name] for row in told)]
    if not rows:
        return
    natural = {column.name: natural_width(column, [row[column.name] for row in told]) for column in given}
    widths = fit_columns(given, natural, width)
    if not widths:
        for row in told:
            yield from _stacked(row, width or LONGEST)
        return
    yield Text(
        "  ".join(fit_text(column.title, widths[column.name]) for column in given if column.name in widths), "bold"
    )
    for row in told:
        yield _line(row, widths)


def _texts_of(row: Mapping[str, Any], now_ms: int | None) -> dict[str, str]:
    flat = with_evidence(row) | {"waits_for": waits_text(row.get("waits_for"))}
    texts = {column.name: _one_line(flat.get(column.name), column) for column in COLUMNS}
    if flat.get("status") not in {"scheduled", "retry"}:
        texts["due_at"] = ""
    if now_ms is not None:
        texts |= {name: relative_time(texts[name], now_ms) for name in TIMES}
    return texts


def _one_line(value: object, column: Column) -> str:
    if value is None:
        return ""
    text = str(value)[:MOST_READ] if column.least else str(value)
    return printable(" ".join(text.split()))


def _line(row: Mapping[str, str], widths: Mapping[str, int]) -> Text:
    line = Text()
    for name, width in widths.items():
        line.append(fit_text(row[name], width), STYLES.get(row[name], "") if name == "status" else "")
        line.append(" " * GAP)
    line.rstrip()
    return line


def _stacked(row: Mapping[str, str], width: int) -> Iterator[Text]:
    """A task on several lines, for a terminal too narrow for its id, status and title side by side."""
    yield Text(row["task_id"])
    status = Text(f"{INDENT}{row['status']}", STYLES.get(row["status"], ""))
    yield status
    if row["title"]:
        yield Text(f"{INDENT}{fit_text(row['title'], max(width - len(INDENT), 1)).rstrip()}")
