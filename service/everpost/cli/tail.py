"""`everpost tail`: prints what happens to tasks, as it happens."""

from typing import Any

import click

from everpost.cli.client import Api, task_path
from everpost.cli.events import Interrupted, ShownEvent, follow_events
from everpost.cli.ids import whole_id
from everpost.cli.options import api_options
from everpost.cli.output import say, say_json_line

EXAMPLES = """\b
Examples:
  everpost tail
  everpost tail --type ended --platform mastodon
  everpost tail TASK_ID
  everpost tail --json | jq .data.task_id
"""
TYPES = ("accepted", "started", "progress", "ended", "changed")
SHOWN = ("change", "platform", "account_id", "title", "attempts", "error_class", "error_message", "publish_url")


@click.command(epilog=EXAMPLES)
@click.argument("task_id", required=False)
@click.option("--type", "types", type=click.Choice(TYPES), multiple=True, help="Only such events; it can be repeated.")
@click.option("--platform", metavar="NAME", help="Only of this platform.")
@click.option("--account-id", metavar="TEXT", help="Only of this account.")
@click.option("--batch-id", metavar="TEXT", help="Only of this batch.")
@click.option("--count", type=click.IntRange(1), metavar="NUMBER", help="End after so many events.")
@api_options
def tail(task_id: str | None, url: str | None, as_json: bool, count: int | None, **filters: Any) -> None:
    """Print what happens to tasks, as it happens, until Ctrl-C.

    With TASK_ID, which may be a beginning that only this task has, it prints what happens to this task, and ends with
    it. If the connection is lost, it connects again and misses nothing. A line `reset` means that something may be
    missing.
    """
    with Api.open(url) as api:
        path, wanted = "/events", _wanted(filters)
        if task_id is not None:
            if any(filters.values()):
                raise click.UsageError("TASK_ID excludes filters.", click.get_current_context())
            path, wanted = f"/tasks/{task_path(whole_id(api, task_id))}/events", {}
        left = count
        for event in follow_events(api, wanted, path):
            if isinstance(event, Interrupted):
                say(f"Interrupted: {event.reason}", err=True)
                continue
            _print(event, as_json=as_json)
            if left is not None:
                left -= 1
                if left == 0:
                    return


def _wanted(filters: dict[str, Any]) -> dict[str, Any]:
    types = ",".join(f"task.{kind}" for kind in filters.pop("types"))
    return {**filters, "types": types or None}


def _print(event: ShownEvent, *, as_json: bool) -> None:
    if as_json:
        say_json_line({"id": event.id, "event": event.event, "data": event.data})
        return
    data = event.data
    told = [f"{name}={data[name]}" for name in SHOWN if data.get(name) not in {None, "", 0}]
    if "done" in data:
        told.append(f"{data['done']:g}" + (f" of {data['total']:g}" if data.get("total") else ""))
    if event.event == "reset":
        told.append(str(data.get("reason", "")))
    subject = [str(data[name]) for name in ("task_id", "status") if data.get(name)]
    say("  ".join([str(data.get("at", "")), event.event, *subject, *told]))
