"""`everpost list`, `show` and `cancel`: looking at tasks, and withdrawing them, through the running API."""

from collections.abc import Mapping
from typing import Any

import click

from service.cli.bulk import ask_bulk, chosen_tasks
from service.cli.client import Api, task_path
from service.cli.options import FILTERS, api_options, filter_options
from service.cli.output import say, say_json
from service.cli.screen import EVIDENCE, console, print_rows, print_task, with_evidence

LISTED = {
    "task_id": "task",
    "status": "status",
    "platform": "platform",
    "account_id": "account",
    "title": "title",
    "created_at": "accepted",
    "error_message": "error",
}


@click.command(
    name="list",
    epilog="\b\nExamples:\n  everpost list --status failed --platform douyin\n  everpost list --q timeout --json",
)
@filter_options
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="The most tasks to show.")
@click.option("--cursor", metavar="TEXT", help="Go on behind an earlier page; that page ends with it.")
@api_options
def list_tasks(url: str | None, as_json: bool, limit: int, cursor: str | None, **filters: str | None) -> None:
    """List tasks, newest first; those that match every filter given."""
    with Api.open(url) as api:
        answer = api.get("/tasks", {**filters, "limit": limit, "cursor": cursor})
    if as_json:
        say_json(answer)
        return
    rows = [with_evidence(row) for row in answer["data"]]
    print_rows(rows, {**LISTED, **(EVIDENCE if any("phase" in row for row in rows) else {})})
    console().print(_count_line(answer), style="dim", soft_wrap=True)


def _count_line(answer: Mapping[str, Any]) -> str:
    shown, total = len(answer["data"]), answer.get("total", len(answer["data"]))
    exact = "" if answer.get("total_is_exact", True) else "at least "
    more = f"; go on with --cursor {answer['next_cursor']}" if answer.get("next_cursor") else ""
    return f"{shown} of {exact}{total} tasks{more}"


@click.command(epilog="\b\nExamples:\n  everpost show TASK_ID\n  everpost show TASK_ID --wait 30 --json")
@click.argument("task_id")
@click.option("--wait", type=click.FloatRange(0, 60), metavar="SECONDS", help="Wait so long for the task's end.")
@api_options
def show(task_id: str, wait: float | None, url: str | None, as_json: bool) -> None:
    """Show one task: what was sent, what was tried, what became of it, and its retries."""
    with Api.open(url) as api:
        answer = api.get(f"/tasks/{task_path(task_id)}", {"wait": wait})
    if as_json:
        say_json(answer)
    else:
        print_task(answer)


@click.command(
    epilog="\b\nExamples:\n  everpost cancel TASK_ID\n  everpost cancel --status scheduled --account-id shop"
)
@click.argument("task_ids", nargs=-1)
@filter_options
@click.option("--force", is_flag=True, help="Cancel running tasks too; what they sent stays sent.")
@click.option("--dry-run", is_flag=True, help="Only say which tasks it would be.")
@api_options
def cancel(
    task_ids: tuple[str, ...], force: bool, dry_run: bool, url: str | None, as_json: bool, **filters: str | None
) -> int:
    """Withdraw tasks that have not run, by id or by filter; given both, those of the ids that match."""
    chosen = chosen_tasks(task_ids, {name: filters[name] for name in FILTERS})
    with Api.open(url) as api:
        if len(task_ids) == 1 and "filter" not in chosen and not dry_run:
            answer = api.post(f"/tasks/cancel/{task_path(task_ids[0])}", parameters={"force": str(force).lower()})
            say_json(answer) if as_json else say(answer["message"])
            return 0
        return ask_bulk(api, "/tasks/batch/cancel", {**chosen, "force": force, "dry_run": dry_run}, as_json=as_json)
