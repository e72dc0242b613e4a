"""`everpost doctor`: what is well, what is not, and what to do about it."""

import asyncio
import os
from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli.checkup import (
    check_api,
    check_database,
    check_embedded_server,
    check_library,
    check_privacy,
    check_publishers,
    check_sizes,
)
from service.cli.findings import Finding, settings_as_read
from service.cli.options import database_options
from service.cli.output import say_json
from service.cli.queue_checkup import check_redis
from service.cli.screen import console
from service.cli.uplock import find_up
from service.clock import system_clock
from service.logs import configure_logging
from service.printable import printable
from service.settings import Settings, read_settings
from service.store.inspection import IntegrityCheck

MARKS = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: " "}


@click.command(epilog="\b\nExamples:\n  everpost doctor\n  everpost doctor --fast --json")
@database_options
@click.option("--fast", is_flag=True, help="Leave out what reads the whole database file.")
@click.option("--integrity", is_flag=True, help="Also compare the indexes with their tables, which takes longer.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
def doctor(data: str | None, database: str | None, fast: bool, integrity: bool, as_json: bool) -> int:
    """Examine settings, database, Redis, workers and platforms. Exits with 1 when something is wrong.

    It changes nothing, and can be run while Everpost serves. Secrets are never shown.
    """
    settings = read_settings(os.environ, data=data, database=database)
    configure_logging(settings)
    check: IntegrityCheck | None = None if fast else "quick_check"
    findings = asyncio.run(examine(settings, "integrity_check" if integrity else check))
    is_well = all(finding.ok is not False for finding in findings)
    if as_json:
        say_json({"ok": is_well, "findings": findings})
    else:
        _show(findings, console())
    return 0 if is_well else 1


async def examine(settings: Settings, check: IntegrityCheck | None) -> list[Finding]:
    """Every finding, in the order people read them."""
    running = find_up(settings.data)
    path = settings.database_path
    return [
        *settings_as_read(settings),
        *check_library(),
        *check_sizes(settings),
        check_privacy(settings),
        *await check_database(path, system_clock, check),
        *await check_redis(settings, running, system_clock),
        *check_embedded_server(settings),
        *check_publishers(settings),
        check_api(settings, running),
    ]


def _show(findings: Sequence[Finding], screen: Console) -> None:
    table = Table(box=None, show_header=False, padding=(0, 1))
    about = ""
    for finding in findings:
        shown = "" if finding.about == about else f"[bold]{finding.about}[/bold]"
        about = finding.about
        table.add_row(shown, MARKS[finding.ok], finding.name, escape(printable(finding.value)))
        if finding.advice:
            table.add_row("", "", "", f"[yellow]{escape(printable(finding.advice))}[/yellow]")
    screen.print(table)
    wrong = sum(finding.ok is False for finding in findings)
    told = "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong"
    screen.print(f"[red]{told}.[/red]" if wrong else "[green]All is well.[/green]")
