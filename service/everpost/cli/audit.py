"""`everpost audit`: who did what, through the running API."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everpost.access import How
from everpost.cli.client import Api
from everpost.cli.options import api_options
from everpost.cli.output import say_json
from everpost.cli.screen import console
from everpost.printable import printable

PAGE = 200
EXAMPLES = """\b
Examples:
  everpost audit --target 019b76da3f007c8e9d2b4f6a8c0e1d3f
  everpost audit --who mei --after 2026-11-01 --limit 500
  everpost audit --action revoke_key --json
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--who", metavar="NAME", help="What this caller did.")
@click.option("--action", metavar="NAME", help="Only this operation, such as retry_task.")
@click.option("--target", metavar="TEXT", help="About this task, operation or PLATFORM/ACCOUNT.")
@click.option("--how", type=click.Choice([*map(str, How)]), help="The way by which it came.")
@click.option("--outcome", metavar="CODE", help="ok, or the code of an error.")
@click.option("--after", metavar="TIME", help="From this date or time on.")
@click.option("--before", metavar="TIME", help="Before this date or time.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The most entries.")
@api_options
def audit(limit: int, url: str | None, as_json: bool, **wanted: str | None) -> None:
    """Show who did what, when, from where, and why; the newest first."""
    with Api.open(url) as api:
        found = list(islice(_all(api, {**wanted, "limit": min(limit, PAGE)}), limit))
    if as_json:
        say_json({"success": True, "data": found, "next_cursor": None})
    else:
        _print(console(), found)


def _all(api: Api, wanted: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    cursor = None
    while True:
        answer = api.get("/audit", {**wanted, "cursor": cursor})
        yield from answer["data"]
        cursor = answer["next_cursor"]
        if cursor is None:
            return


def _print(screen: Console, found: list[Mapping[str, Any]]) -> None:
    if not found:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("at", "who", "how", "from", "action", "target", "why"):
        table.add_column(title, overflow="fold")
    for entry in found:
        action = entry["action"] if entry["outcome"] == "ok" else f"{entry['action']} ({entry['outcome']})"
        why = entry["why"] or (json.dumps(entry["details"], ensure_ascii=False) if entry["details"] else "")
        texts = (entry["at"], entry["who"], entry["how"], entry["address"], action, entry["target"], why)
        table.add_row(*(escape(printable(" ".join((text or "").split()))) for text in texts))
    screen.print(table)
