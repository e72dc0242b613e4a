"""The `everpost` command: the list of commands, and how an error becomes one line and an exit code.

A command's module is imported only when the command is called. So `everpost --help` is quick, and `everpost api` loads
only what it runs.
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
from everpost.garbage import without_collection
from everpost.printable import printable

FAILED = 1
MISUSED = 2  # the command line or a setting is wrong; shells use the same code

SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "Serving": {
            "up": ("everpost.cli.up:up", "Serve: API, worker, and a Valkey of its own; Ctrl-C stops all."),
            "api": ("everpost.cli.processes:api", "Serve the HTTP API alone."),
            "worker": ("everpost.cli.processes:worker", "Run one worker, until SIGTERM."),
            "health": ("everpost.cli.processes:health", "Check the health of the API or of this host's workers."),
            "demo": ("everpost.cli.processes:demo", "Show the main job end to end, and prove each step."),
            "bench": ("everpost.cli.bench:bench", "Measure Everpost on this machine, every task counted."),
        },
        "Tasks, over HTTP": {
            "fanout": ("everpost.cli.fanout:fanout", "Publish one content to many accounts, as one."),
            "list": ("everpost.cli.tasks:list_tasks", "List tasks, newest first."),
            "tail": ("everpost.cli.tail:tail", "Print what happens to tasks, as it happens."),
            "export": ("everpost.cli.export:export", "Export tasks as NDJSON or CSV."),
            "show": ("everpost.cli.tasks:show", "Show one task: data, attempts, lineage."),
            "retry": ("everpost.cli.retry:retry", "Run tasks again, by id or by filter."),
            "undo": ("everpost.cli.undo:undo", "Undo a bulk cancellation or removal."),
            "resolve": ("everpost.cli.resolve:resolve", "Decide about a task whose outcome is unknown."),
            "edit": ("everpost.cli.edit:edit", "Change, reschedule or publish waiting tasks now."),
            "schedule": ("everpost.cli.schedule:schedule", "Posts that are made again and again, by cron expressions."),
            "cancel": ("everpost.cli.tasks:cancel", "Cancel tasks that have not run."),
            "limits": ("everpost.cli.limits:limits", "Show or change limits; pause platforms and accounts."),
            "mcp": ("everpost.cli.mcp:mcp", "Serve tools for agents (Model Context Protocol)."),
            "callbacks": ("everpost.cli.callbacks:callbacks", "List callbacks, and send one again."),
            "resume": ("everpost.cli.restore:resume", "End the pause after a backup was restored."),
        },
        "Media": {"files": ("everpost.cli.media:files", "Upload, list and delete media files, and register folders.")},
        "Accounts, over HTTP": {
            "accounts": ("everpost.cli.accounts:accounts", "Register, test, pause and resume accounts."),
        },
        "Keys and audit, over HTTP": {
            "keys": ("everpost.cli.keys:keys", "Make, list, rotate and revoke API keys."),
            "audit": ("everpost.cli.audit:audit", "Show who did what, when, from where, and why."),
        },
        "The database file": {
            "archive": ("everpost.cli.files:archive", "Move old successes to the archive."),
            "purge": ("everpost.cli.files:purge", "Destroy archived tasks permanently."),
            "migrate": ("everpost.cli.files:migrate", "Bring the database up to this version before it serves."),
            "compact": ("everpost.cli.files:compact", "Free the unused space of an older database file."),
            "import": ("everpost.cli.files:import_tasks", "Copy an original task_queue.db into the database."),
            "backup": ("everpost.cli.files:backup", "Copy the database to a new file while Everpost serves."),
            "restore": ("everpost.cli.restore:restore", "Put a backup in the database's place; nothing is sent twice."),
            "move": ("everpost.cli.move:move", "Take everything to another database, such as PostgreSQL."),
            "doctor": ("everpost.cli.doctor:doctor", "Check settings, database, Redis and workers."),
        },
        "Your shell": {"completion": ("everpost.cli.completion:completion", "Print a script for shell completion.")},
    }
)

HELP = {name: text for section in SECTIONS.values() for name, (_, text) in section.items()}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Commands(click.Group):
    """The commands of the table above, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with this name; None if no command has it."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        with without_collection():
            command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands and options that begin with `incomplete`, without importing any command."""
        found = [CompletionItem(name, help=text) for name, text in HELP.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any of them."""
        del ctx
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are EVERPOST_* variables: see docs/reference/settings.md. `everpost COMMAND --help` says more.",
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
    """Run the command line and exit: 0 is success, 1 is failure, 2 is a wrong option or setting."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run `arguments`, or the process's own command line; return the exit code. An error is one line, no traceback."""
    try:
        answer = everpost.main(arguments, prog_name="everpost", standalone_mode=False)
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return complain("stopped", FAILED)
    except Exception as error:  # noqa: BLE001 - the outermost edge: any error becomes one line
        code = complain(*_line_of(error))
        for detail in getattr(error, "details", ()):  # the candidates of an ambiguous id
            click.echo(printable(str(detail)), err=True)
        return code
    return answer if isinstance(answer, int) else 0


def complain(message: str, code: int) -> int:
    """Print the error; return `code`, the exit code."""
    click.echo(printable(f"everpost: {message}"), err=True)
    return code


def _line_of(error: Exception) -> tuple[str, int]:
    """One line about an error, and its exit code."""
    while isinstance(error, ExceptionGroup):  # Litestar starts its parts in a task group
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
