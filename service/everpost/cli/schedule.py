"""`everpost schedule`: recurring posts, through the API."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.table import Table

from everpost.cli.client import Api
from everpost.cli.options import api_options
from everpost.cli.output import as_json_text, say, say_json, say_warnings
from everpost.cli.patches import patch_in, set_option, unset_option
from everpost.cli.screen import console
from everpost.printable import printable

EXAMPLES = """\b
Examples:
  everpost schedule add digest --cron "0 9 * * MON" --timezone Europe/Berlin --data @task.json
  everpost schedule add noon --cron "0 12 * * *" --set platform=1 --set account_id=shop --set title=Noon --dry-run
  everpost schedule list
  everpost schedule next digest --count 20
  everpost schedule edit digest --cron "0 10 * * MON" --set title="Digest"
  everpost schedule pause digest
"""
KEY = click.argument("name", metavar="NAME")
COLUMNS = ("name", "status", "cron", "timezone", "next_at", "last_at", "made", "missed")


@click.group(epilog=EXAMPLES)
def schedule() -> None:
    """Posts that are made again and again, at the times of a cron expression.

    NAME is a recurring post's name or id. Its tasks: everpost list --batch-id ID. To change the time of one waiting
    task: everpost edit TASK_ID --schedule-time TIME.
    """


@schedule.command()
@KEY
@click.option("--cron", required=True, metavar="EXPRESSION", help="Minute, hour, day of month, month, day of week.")
@click.option("--timezone", metavar="ZONE", help="Of its times; default: the account's, or EVERPOST_TIMEZONE.")
@click.option("--until", metavar="TIME", help="No post after this time.")
@click.option("--data", metavar="JSON", help="The task, as for POST /publish; @FILE reads it from a file.")
@set_option
@click.option("--dry-run", is_flag=True, help="Only check it, and print its next times.")
@api_options
def add(
    name: str,
    cron: str,
    timezone: str | None,
    until: str | None,
    data: str | None,
    members: Mapping[str, Any],
    dry_run: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Add a recurring post."""
    task = {**({} if data is None else patch_in("--data", _text_of(data))), **members}
    body = {"name": name, "cron": cron, "timezone": timezone, "until": until, "data": task}
    given = {field: value for field, value in body.items() if value is not None}
    parameters = {"dry_run": str(dry_run).lower()}
    _change("Checked" if dry_run else "Added", lambda api: api.post("/recurring", given, parameters), url, as_json)


@schedule.command(name="list")
@api_options
def list_recurring(url: str | None, as_json: bool) -> None:
    """List all recurring posts."""
    found: list[dict[str, Any]] = []
    with Api.open(url) as api:
        after: str | None = ""
        while after is not None:
            page = api.get("/recurring", {"after": after})
            found += page["data"]
            after = page["next_after"]
    if as_json:
        say_json({"success": True, "data": found})
        return
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(*("" if one[column] is None else printable(str(one[column])) for column in COLUMNS))
    console().print(table)


@schedule.command()
@KEY
@api_options
def show(name: str, url: str | None, as_json: bool) -> None:
    """Show a recurring post, its task and its next times."""
    with Api.open(url) as api:
        answer = api.get(_path(name))
    if as_json:
        say_json(answer)
        return
    for field, value in answer["data"].items():
        if value is not None and field != "data":
            say(f"{field}: {value}")
    say(f"data: {as_json_text(answer['data']['data'])}")
    _say_times(answer)


@schedule.command(name="next")
@KEY
@click.option("--count", type=click.IntRange(1, 100), default=10, show_default=True, help="How many times.")
@api_options
def next_times(name: str, count: int, url: str | None, as_json: bool) -> None:
    """Show the next times of a recurring post, whether or not it is paused."""
    with Api.open(url) as api:
        answer = api.get(f"{_path(name)}/next", {"count": count})
    if as_json:
        say_json(answer)
        return
    for time in answer["next_times"]:
        say(time)


@schedule.command(name="edit")
@KEY
@click.option("--rename", metavar="NAME", help="Another name.")
@click.option("--cron", metavar="EXPRESSION", help="Other times.")
@click.option("--timezone", metavar="ZONE", help="Another zone; empty: the account's.")
@click.option("--until", metavar="TIME", help="Another end; empty: none.")
@set_option
@unset_option
@api_options
def edit_recurring(
    name: str,
    rename: str | None,
    members: Mapping[str, Any],
    removed: Mapping[str, Any],
    url: str | None,
    as_json: bool,
    **others: str | None,
) -> None:
    """Change a recurring post."""
    data = {**members, **removed}
    patch: dict[str, Any] = {field: value or None for field, value in others.items() if value is not None}
    patch |= {"name": rename} if rename is not None else {}
    patch |= {"data": data} if data else {}
    if not patch:
        raise click.UsageError("Say what changes, for example with --cron or --set.")
    _change("Changed", lambda api: api.patch(_path(name), patch), url, as_json)


@schedule.command()
@KEY
@api_options
def pause(name: str, url: str | None, as_json: bool) -> None:
    """Make no task until it is resumed."""
    _change("Paused", lambda api: api.post(f"{_path(name)}/pause"), url, as_json)


@schedule.command()
@KEY
@api_options
def resume(name: str, url: str | None, as_json: bool) -> None:
    """Go on with the next time; those in between are not made."""
    _change("Resumed", lambda api: api.post(f"{_path(name)}/resume"), url, as_json)


@schedule.command()
@KEY
@api_options
def remove(name: str, url: str | None, as_json: bool) -> None:
    """Remove a recurring post; its tasks stay."""
    _change("Removed", lambda api: api.delete(_path(name)), url, as_json)


def _path(name: str) -> str:
    return f"/recurring/{quote(name, safe='').replace('.', '%2E')}"


def _text_of(given: str) -> str:
    return Path(given[1:]).read_text("utf-8") if given.startswith("@") else given


def _change(done: str, ask: Callable[[Api], Mapping[str, Any]], url: str | None, as_json: bool) -> None:
    """Have the API change a recurring post, and print what it is now."""
    with Api.open(url) as api:
        answer = ask(api)
    if as_json:
        say_json(answer)
        return
    say(f"{done}: {answer['data']['name']} ({answer['data']['recurrence_id']})")
    say_warnings(answer)
    _say_times(answer)


def _say_times(answer: Mapping[str, Any]) -> None:
    for time in answer["next_times"]:
        say(f"  next: {time}")
