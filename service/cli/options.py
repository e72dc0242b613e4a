"""Options several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

FILTERS = {
    "status": "Tasks of this status, such as failed; docs/statuses.md lists them.",
    "platform": "Tasks of this platform: its id, name or alias.",
    "account_id": "Tasks of this account.",
    "created_after": "Accepted at or after this time, such as 2026-01-31 or 2026-01-31T08:00:00Z.",
    "created_before": "Accepted before this time.",
    "error_class": "Ended with this class of error, such as transient or auth.",
    "q": "Tasks whose title, error or data contain these words.",
    "batch_id": "Tasks of this batch.",
    "retry_of": "Retries of this task.",
}


def api_options(command: Command) -> Command:
    """`--url` and `--json`, as parameters `url` and `as_json`."""
    command = click.option("--json", "as_json", is_flag=True, help="Print the API's own answer, for programs.")(command)
    return click.option(
        "--url", metavar="URL", help="Where the API serves; default: a running `everpost up`, else EVERPOST_HOST/PORT."
    )(command)


def filter_options(command: Command) -> Command:
    """The filters of GET /tasks, each a parameter of its own name."""
    for name, text in reversed(FILTERS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, metavar="TEXT", help=text)(command)
    return command


def database_options(command: Command) -> Command:
    """`--data` and `--database`, for the commands that open the file themselves."""
    command = click.option("--database", metavar="FILE", help="Database file, instead of EVERPOST_DATABASE.")(command)
    return click.option("--data", metavar="FOLDER", help="Data folder, instead of EVERPOST_DATA.")(command)
