"""The `everpost` command: what commands there are, and how an error becomes one line and an exit code.

A command's module is imported when it is called, so that `everpost --help` is quick and `everpost api` loads only what
it runs.
"""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from everpost.errors import ServiceError, SettingsError
from everpost.printable import printable

FAILED = 1
MISUSED = 2  # of the command line or the settings, as a shell's own commands have it

SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "Serving": {
            "up": ("everpost.cli.up:up", "Serve: API, worker, and a Valkey of its own; Ctrl-C stops all."),
            "api": ("everpost.cli.processes:api", "Serve the HTTP API alone."),
            "worker": ("everpost.cli.processes:worker", "Run one worker, until SIGTERM."),
            "health": ("everpost.cli.processes:health", "Say whether the API or this host's workers are well."),
            "demo": ("everpost.cli.processes:demo", "Show the main job end to end, and prove each step."),
            "bench": ("everpost.cli.bench:bench", "Measure Everpost on this machine, every task counted."),
        },
        "Tasks, over HTTP": {
            "list": ("everpost.cli.tasks:list_tasks", "List tasks, newest first."),
            "show": ("everpost.cli.tasks:show", "Show one task: data, attempts, lineage."),
            "retry": ("everpost.cli.retry:retry", "Run tasks again, by id or by filter."),
            "resolve": ("everpost.cli.resolve:resolve", "Decide about a task whose outcome is unknown."),
            "cancel": ("everpost.cli.tasks:cancel", "Withdraw tasks that have not run."),
            "resume": ("everpost.cli.restore:resume", "Send tasks again after a backup was restored."),
        },
        "The database file": {
            "archive": ("everpost.cli.files:archive", "Move old successes to the archive."),
            "purge": ("everpost.cli.files:purge", "Destroy archived tasks, for good."),
            "compact": ("everpost.cli.files:compact", "Give back what is free in an older database file."),
            "import": ("everpost.cli.files:import_tasks", "Copy an original task_queue.db into the database."),
            "backup": ("everpost.cli.files:backup", "Copy the database to a new file while Everpost serves."),
            "restore": ("everpost.cli.restore:restore", "Put a backup in the database's place; nothing is sent twice."),
            "doctor": ("everpost.cli.doctor:doctor", "Examine settings, database, Redis and workers."),
        },
        "Your shell": {
            "completion": (
                "everpost.cli.completion:completion",
                "Print the script that makes a shell complete.",
            ),
        },
    }
)

HELP = {name: text for section in SECTIONS.values() for name, (_, text) in section.items()}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Commands(click.Group):
    """The commands of the table above, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None if there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options that begin so, without importing any command."""
        found = [CompletionItem(name, help=text) for name, text in HELP.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help, without importing any command."""
        del ctx
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are EVERPOST_* environment variables; the README lists them. `everpost COMMAND --help` says more.",
    invoke_without_command=True,
)
@click.version_option(package_name="everpost", prog_name="everpost", message="%(prog)s %(version)s")
@click.pass_context
def everpost(ctx: click.Context) -> None:
    """Everpost: a durable publish-task service.

    Once a client has its 202, the task is never lost, never silently published twice, and can be retried for ever.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 when it did what was asked, 1 when it failed, 2 when it was asked wrongly."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`arguments`, else the process's own); its exit code. Errors are one line, no traceback."""
    try:
        answer = everpost.main(arguments, prog_name="everpost", standalone_mode=False)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return complain("stopped", FAILED)
    except Exception as error:  # noqa: BLE001 - the edge: people are told in one line
        code = complain(*_line_of(error))
        for detail in getattr(error, "details", ()):  # of an ambiguous id, its candidates
            click.echo(printable(str(detail)), err=True)
        return code
    return answer if isinstance(answer, int) else 0


def complain(message: str, code: int) -> int:
    """Say what went wrong; `code` again, to exit with."""
    click.echo(printable(f"everpost: {message}"), err=True)
    return code


def _line_of(error: Exception) -> tuple[str, int]:
    """One line about an error, and the exit code it has."""
    while isinstance(error, ExceptionGroup):  # Litestar starts its parts in a group
        error = error.exceptions[0]
    if isinstance(error, click.UsageError):
        name = error.ctx.command_path if error.ctx else "everpost"
        return f"{error.format_message()} See '{name} --help'.", MISUSED
    if isinstance(error, click.ClickException):
        return error.format_message(), FAILED
    if isinstance(error, SettingsError):
        return error.message, MISUSED
    if isinstance(error, ServiceError):
        return error.message, FAILED
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}", FAILED
    if os.environ.get("EVERPOST_LOG_LEVEL") == "debug":
        raise error
    return f"{type(error).__name__}: {error} (a defect; EVERPOST_LOG_LEVEL=debug shows where)", FAILED
