"""`everpost retry`: running tasks again, through the API."""

import click

from everpost.cli.bulk import ask_bulk, chosen_tasks, only_id, with_whole_ids
from everpost.cli.client import Api, task_path
from everpost.cli.options import FILTERS, api_options, filter_options, task_id_argument
from everpost.cli.output import say, say_json

EXAMPLES = """\b
Examples:
  everpost retry TASK_ID
  everpost retry --status failed --error-class transient --dry-run
  everpost retry --status failed --platform douyin --created-after 2026-01-01
"""


@click.command(epilog=EXAMPLES)
@task_id_argument("task_ids", many=True)
@filter_options
@click.option("--force", is_flag=True, help="Also retry tasks that were, or may have been, published.")
@click.option("--dry-run", is_flag=True, help="Only print which tasks would be retried.")
@api_options
def retry(
    task_ids: tuple[str, ...], force: bool, dry_run: bool, url: str | None, as_json: bool, **filters: str | None
) -> int:
    """Run tasks again as new ones, by id or by filter; with both, the given tasks that match the filter.

    TASK_ID is an id or a beginning that only this task has. If a retry of the task is unfinished, its id is returned
    instead of making a second one. Exits with 1 if a task could not be retried.
    """
    request = chosen_tasks(task_ids, {name: filters[name] for name in FILTERS})
    with Api.open(url) as api:
        chosen = with_whole_ids(api, request)
        task_id = None if dry_run else only_id(chosen)
        if task_id is not None:
            return _retry_one(api, task_id, force=force, as_json=as_json)
        return ask_bulk(api, "/tasks/batch/retry", {**chosen, "force": force, "dry_run": dry_run}, as_json=as_json)


def _retry_one(api: Api, task_id: str, *, force: bool, as_json: bool) -> int:
    answer = api.post(f"/tasks/retry/{task_path(task_id)}", parameters={"force": str(force).lower()})
    if as_json:
        say_json(answer)
        return 0
    say(f"{answer['message']}: {answer['new_task_id']}")
    if answer.get("warning"):
        say(f"Warning: {answer['warning']}", err=True)
    return 0
