"""Options that several commands share."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from everpost.cli.ids import complete_task_id
from everpost.errors import ServiceError
from everpost.logs import configure_logging
from everpost.platforms import Catalogue
from everpost.settings import Settings, read_settings
from everpost.task.model import ErrorClass, TaskStatus

Command = TypeVar("Command", bound=Callable[..., Any])

FILTERS = {
    "status": "Tasks with this status, such as failed; docs/statuses.md lists them.",
    "platform": "Tasks of this platform: its id, name or alias.",
    "account_id": "Tasks of this account.",
    "created_after": "Tasks accepted at or after this time, such as 2026-01-31 or 2026-01-31T08:00:00Z.",
    "created_before": "Tasks accepted before this time.",
    "error_class": "Tasks that ended with this class of error, such as transient or auth.",
    "cause": "Tasks that failed with this cause; GET /failures lists the causes.",
    "q": "Tasks whose title, error or data contain these words.",
    "batch_id": "Tasks of this batch.",
    "retry_of": "Retries of this task.",
    "submitted_by": "Tasks that this caller submitted: a key's name.",
}


def api_options(command: Command) -> Command:
    """`--url` and `--json`, as parameters `url` and `as_json`."""
    command = click.option("--json", "as_json", is_flag=True, help="Print the API's own answer, for programs.")(command)
    return url_option(command)


def url_option(command: Command) -> Command:
    """`--url`, as the parameter `url`."""
    text = "Address of the API; default: a running `everpost up`, else EVERPOST_HOST/PORT."
    return click.option("--url", metavar="URL", help=text)(command)


def filter_options(command: Command) -> Command:
    """The filters of GET /tasks, each as an option and a parameter with its name."""
    for name, text in reversed(FILTERS.items()):
        flag = f"--{name.replace('_', '-')}"
        if name in CHOICES:
            option = click.option(flag, name, type=click.Choice(CHOICES[name]), metavar=name.upper(), help=text)
        else:
            option = click.option(flag, name, metavar="TEXT", help=text, shell_complete=COMPLETIONS.get(name))
        command = option(command)
    return command


def task_id_argument(name: str = "task_id", *, many: bool = False) -> Callable[[Command], Command]:
    """The argument TASK_ID, or with `many` any number of them, as the parameter `name`."""
    metavar = "[TASK_ID]..." if many else "TASK_ID"
    return click.argument(name, nargs=-1 if many else 1, metavar=metavar, shell_complete=complete_task_id)


def database_settings(data: str | None, database: str | None, *, log_at_least: str = "warning") -> Settings:
    """The settings of a command that opens the file itself, with logging that does not mix with its output."""
    settings = read_settings(os.environ, data=data, database=database)
    configure_logging(settings, at_least=log_at_least)
    return settings


def complete_platform(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For shell completion: the platforms of the catalogue."""
    try:
        catalogue = Catalogue.read(read_settings(os.environ).platforms)
    except ServiceError:
        return []
    return [CompletionItem(platform.name) for platform in catalogue if platform.name.startswith(incomplete)]


CHOICES = {"status": [*map(str, TaskStatus)], "error_class": [*map(str, ErrorClass)]}
COMPLETIONS = {"platform": complete_platform, "retry_of": complete_task_id}


def database_options(command: Command) -> Command:
    """`--data` and `--database`, for the commands that open the database themselves."""
    text = "Path or address of the database, instead of EVERPOST_DATABASE."
    command = click.option("--database", metavar="FILE", help=text)(command)
    return click.option("--data", metavar="FOLDER", help="Data folder, instead of EVERPOST_DATA.")(command)
