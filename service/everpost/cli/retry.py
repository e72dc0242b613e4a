"""`everpost retry`: running tasks again, through the API."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from everpost.cli.bulk import change_tasks
from everpost.cli.options import api_options, filter_options, task_id_argument
from everpost.cli.output import say, say_warnings

EXAMPLES = """\b
Examples:
  everpost retry TASK_ID
  everpost retry --status failed --error-class transient --dry-run
  everpost retry --status failed --platform douyin --created-after 2026-01-01
  everpost retry TASK_ID --set title='A shorter title' --set cover=null
"""


def read_edits(_context: click.Context, _parameter: click.Parameter, edits: Sequence[str]) -> dict[str, Any]:
    """The merge patch of `NAME=VALUE` texts. A value is JSON, or else a text; null removes the field.

    Raises:
        click.BadParameter: A text has no name or no `=`.
    """
    patch = {}
    for edit in edits:
        name, equals, value = edit.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{edit!r} is not NAME=VALUE.")
        patch[name] = _read_value(value)
    return patch


def _read_value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


@click.command(epilog=EXAMPLES)
@task_id_argument("task_ids", many=True)
@filter_options
@click.option("--force", is_flag=True, help="Also retry tasks that were, or may have been, published.")
@click.option(
    "--set",
    "data",
    metavar="NAME=VALUE",
    multiple=True,
    callback=read_edits,
    help="Change a field of the task's data. The value is JSON or text; null removes the field. Can be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only print which tasks would be retried.")
@api_options
def retry(**options: Any) -> int:
    """Run tasks again as new ones, by id or by filter; with both, the given tasks that match the filter.

    TASK_ID is an id or a beginning that only this task has. If a retry of the task is unfinished, its id is returned
    instead of making a second one. With --set, the new task has edited data, and the original keeps its own. Exits with
    1 if a task could not be retried.
    """
    return change_tasks("retry", _print_retry, **options)


def _print_retry(answer: Mapping[str, Any]) -> None:
    say(f"{answer['message']}: {answer['new_task_id']}")
    say_warnings(answer)
