"""`everpost list`, `show` and `cancel`: looking at tasks and cancelling them, through the running API."""

from collections.abc import Mapping
from typing import Any

import click

from everpost.cli.bulk import change_tasks, with_whole_ids
from everpost.cli.client import Api, task_path
from everpost.cli.ids import whole_id
from everpost.cli.options import api_options, filter_options, task_id_argument
from everpost.cli.output import say, say_json
from everpost.cli.screen import console, print_task
from everpost.cli.task_table import print_tasks
from everpost.cli.watch import watch_tasks
from everpost.clock import system_clock

WATCH_S = 2.0

EXAMPLES = """\b
Examples:
  everpost list --status failed --platform douyin
  everpost list --q timeout --json
  everpost list --status running --watch
"""


@click.command(name="list", epilog=EXAMPLES)
@filter_options
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="The most tasks to show.")
@click.option("--cursor", metavar="TEXT", help="Continue after an earlier page, which printed this text.")
@click.option(
    "--watch",
    type=click.FloatRange(0.2, 3600),
    is_flag=False,
    flag_value=WATCH_S,
    metavar="[SECONDS]",
    help="Redraw the list every SECONDS (default: 2) until Ctrl-C.",
)
@api_options
def list_tasks(
    url: str | None, as_json: bool, limit: int, cursor: str | None, watch: float | None, **filters: str | None
) -> None:
    """List the tasks that match all given filters, newest first.

    On a terminal, ids, statuses and titles come first, and times are shown as ages. In a pipe, every column is printed,
    with exact times.
    """
    screen = console()
    if watch is not None and (as_json or not screen.is_terminal):
        raise click.UsageError("--watch needs a terminal, and excludes --json.", click.get_current_context())
    with Api.open(url) as api:
        wanted = {**with_whole_ids(api, filters), "limit": limit, "cursor": cursor}
        if watch is not None:
            watch_tasks(api, wanted, screen, every_s=watch, clock=system_clock)
            return
        answer = api.get("/tasks", wanted)
    if as_json:
        say_json(answer)
        return
    print_tasks(screen, answer["data"], system_clock())
    screen.print(count_line(answer), style="dim", soft_wrap=True, markup=False)


def count_line(answer: Mapping[str, Any]) -> str:
    """The number of tasks, and the cursor of the next page."""
    shown, total = len(answer["data"]), answer.get("total", len(answer["data"]))
    exact = "" if answer.get("total_is_exact", True) else "at least "
    more = f"; go on with --cursor {answer['next_cursor']}" if answer.get("next_cursor") else ""
    return f"{shown} of {exact}{total} tasks{more}"


@click.command(epilog="\b\nExamples:\n  everpost show TASK_ID\n  everpost show TASK_ID --wait 30 --json")
@task_id_argument()
@click.option(
    "--wait", type=click.FloatRange(0, 60), metavar="SECONDS", help="Wait at most this long for the task's end."
)
@api_options
def show(task_id: str, wait: float | None, url: str | None, as_json: bool) -> None:
    """Show one task: its data, its attempts, its outcome and its retries.

    TASK_ID is an id or a beginning that only this task has.
    """
    with Api.open(url) as api:
        answer = api.get(f"/tasks/{task_path(whole_id(api, task_id))}", {"wait": wait})
    if as_json:
        say_json(answer)
    else:
        print_task(answer, system_clock())


@click.command(
    epilog="\b\nExamples:\n  everpost cancel TASK_ID\n  everpost cancel --status scheduled --account-id shop"
)
@task_id_argument("task_ids", many=True)
@filter_options
@click.option("--force", is_flag=True, help="Cancel running tasks too; a post already sent stays sent.")
@click.option("--dry-run", is_flag=True, help="Only print which tasks would be cancelled.")
@api_options
def cancel(**options: Any) -> int:
    """Cancel tasks that have not run, by id or by filter; with both, the given tasks that match the filter.

    TASK_ID is an id or a beginning that only this task has.
    """
    return change_tasks("cancel", lambda answer: say(answer["message"]), **options)
