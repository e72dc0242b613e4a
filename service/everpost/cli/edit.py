"""`everpost edit`: changing, rescheduling and reprioritising waiting tasks, through the API."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from everpost.cli.bulk import ask_bulk, chosen_tasks, only_id, with_whole_ids
from everpost.cli.client import Api, task_path
from everpost.cli.options import api_options, filter_options, task_id_argument
from everpost.cli.output import say, say_json, say_warnings
from everpost.cli.patches import patch_in, set_option, unset_option

EXAMPLES = """\b
Examples:
  everpost edit TASK_ID --schedule-time "2026-12-24 18:00" --why "the shop opens later"
  everpost edit TASK_ID --set title="A better title" --set 'tags=["a", "b"]' --unset cover
  everpost edit --status scheduled --platform douyin --now
  everpost edit --batch-id BATCH_ID --priority 0 --dry-run
"""


@click.command(epilog=EXAMPLES)
@task_id_argument("task_ids", many=True)
@filter_options
@set_option
@unset_option
@click.option("--patch", "patch_text", metavar="JSON", help="A whole JSON merge patch (RFC 7396).")
@click.option("--schedule-time", metavar="TIME", help="When it is due, such as 2026-12-24T18:00:00+01:00.")
@click.option("--now", is_flag=True, help="Publish now: remove the time, so that it is due at once.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 to 9; lower is more urgent.")
@click.option("--by", metavar="NAME", help="Who edits; kept with the task.")
@click.option("--why", metavar="TEXT", help="The reason; kept with the task.")
@click.option("--dry-run", is_flag=True, help="Only print which tasks would be edited.")
@api_options
def edit(
    task_ids: Sequence[str],
    members: Mapping[str, Any],
    removed: Mapping[str, Any],
    patch_text: str | None,
    schedule_time: str | None,
    now: bool,
    priority: int | None,
    by: str | None,
    why: str | None,
    dry_run: bool,
    url: str | None,
    as_json: bool,
    **filters: str | None,
) -> int:
    """Change waiting tasks, by id or by filter; with both, the given tasks that match the filter.

    A task keeps its id. What changed is kept, and `everpost show` shows it. TASK_ID is an id or a beginning that only
    this task has. Exits with 1 if a task could not be edited.
    """
    if now and schedule_time is not None:
        raise click.UsageError("Pass either --now or --schedule-time.", click.get_current_context())
    patch = {} if patch_text is None else patch_in("--patch", patch_text)
    patch |= {**members, **removed}
    patch |= {} if schedule_time is None else {"schedule_time": schedule_time}
    patch |= {"schedule_time": None} if now else {}
    patch |= {} if priority is None else {"priority": priority}
    if not patch:
        raise click.UsageError("Say what changes, for example with --set, --schedule-time or --now.")
    request = chosen_tasks(task_ids, filters)
    grounds = {"by": by, "why": why}
    with Api.open(url) as api:
        chosen = with_whole_ids(api, request)
        task_id = None if dry_run else only_id(chosen)
        if task_id is None:
            given = {name: value for name, value in grounds.items() if value is not None}
            return ask_bulk(api, "edit", {**chosen, **given, "data": patch, "dry_run": dry_run}, as_json=as_json)
        answer = api.patch(f"/tasks/{task_path(task_id)}", patch, grounds)
    (say_json if as_json else _print_edit)(answer)
    return 0


def _print_edit(answer: Mapping[str, Any]) -> None:
    due = f", due {answer['due_at']}" if answer.get("due_at") else ""
    say(f"{answer['message']}: {answer['task_id']}{due}")
    say_warnings(answer)
