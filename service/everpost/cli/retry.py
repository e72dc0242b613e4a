"""`everpost retry`: running tasks again, through the API."""

from collections.abc import Mapping
from typing import Any

import click

from everpost.cli.bulk import change_tasks
from everpost.cli.options import api_options, filter_options, task_id_argument
from everpost.cli.output import say, say_warnings
from everpost.cli.patches import set_option

EXAMPLES = """\b
Examples:
  everpost retry TASK_ID
  everpost retry --status failed --error-class transient --dry-run
  everpost retry --status failed --platform douyin --created-after 2026-01-01
  everpost retry TASK_ID --set title='A shorter title' --set cover=null
"""


@click.command(epilog=EXAMPLES)
@task_id_argument("task_ids", many=True)
@filter_options
@click.option("--force", is_flag=True, help="Also retry tasks that were, or may have been, published.")
@set_option
@click.option("--dry-run", is_flag=True, help="Only print which tasks would be retried.")
@api_options
def retry(members: Mapping[str, Any], **options: Any) -> int:
    """Run tasks again as new ones, by id or by filter; with both, the given tasks that match the filter.

    TASK_ID is an id or a beginning that only this task has. If a retry of the task is unfinished, its id is returned
    instead of making a second one. With --set, the new task has edited data, and the original keeps its own. Exits with
    1 if a task could not be retried.
    """
    return change_tasks("retry", _print_retry, data=members, **options)


def _print_retry(answer: Mapping[str, Any]) -> None:
    say(f"{answer['message']}: {answer['new_task_id']}")
    say_warnings(answer)
