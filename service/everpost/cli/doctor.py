"""`everpost doctor`: what works, what does not, and what to do about it."""

import asyncio
from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everpost.cli.account_checkup import check_accounts
from everpost.cli.checkup import check_api, check_embedded_server, check_privacy, check_publishers, task_findings
from everpost.cli.file_checkup import check_files
from everpost.cli.findings import settings_as_read
from everpost.cli.options import database_options, database_settings
from everpost.cli.output import say_json
from everpost.cli.queue_checkup import check_redis
from everpost.cli.screen import console
from everpost.cli.uplock import find_up
from everpost.clock import system_clock
from everpost.findings import Finding
from everpost.printable import printable
from everpost.settings import Settings
from everpost.store import maintenance_of
from everpost.store.maintenance import Depth

MARKS = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: " "}


@click.command(epilog="\b\nExamples:\n  everpost doctor\n  everpost doctor --fast --json")
@database_options
@click.option("--fast", is_flag=True, help="Skip checks that read the whole database file.")
@click.option("--integrity", is_flag=True, help="Also compare indexes with their tables; takes longer.")
@click.option(
    "--url", metavar="URL", help="Address of the API; default: a running `everpost up`, else EVERPOST_HOST/PORT."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
def doctor(data: str | None, database: str | None, fast: bool, integrity: bool, url: str | None, as_json: bool) -> int:
    """Check settings, database, Redis, workers, platforms and the API. Exits with 1 if something is wrong.

    An API that does not answer is wrong if the database has been used before. Doctor changes nothing, and can run while
    Everpost serves. Secrets are never shown.
    """
    settings = database_settings(data, database, log_at_least="error")  # warnings would repeat the findings
    usual = Depth.FAST if fast else Depth.QUICK
    findings = asyncio.run(examine(settings, Depth.THOROUGH if integrity else usual, url))
    is_well = all(finding.ok is not False for finding in findings)
    if as_json:
        say_json({"ok": is_well, "findings": findings})
    else:
        _show(findings, console())
    return 0 if is_well else 1


async def examine(settings: Settings, depth: Depth, url: str | None = None) -> list[Finding]:
    """All findings, grouped by subject."""
    running = find_up(settings.data)
    now_ms = system_clock()
    inspection = await maintenance_of(settings.database_address).inspect(depth, now_ms, settings.min_free_disk)
    contents = inspection.contents
    found = [
        *settings_as_read(settings),
        *inspection.findings,
        check_privacy(settings),
        *(() if contents is None else task_findings(contents, now_ms)),
        *check_embedded_server(settings),
        *await check_redis(settings, running),
        *check_publishers(settings),
        *await check_accounts(settings),
        *await check_files(settings),
        check_api(settings, running, url, is_expected=contents is not None),
    ]
    sections = list(dict.fromkeys(finding.about for finding in found))
    return sorted(found, key=lambda finding: sections.index(finding.about))


def _show(findings: Sequence[Finding], screen: Console) -> None:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
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
    if wrong:
        screen.print(f"[red]{told}.[/red]")
    elif findings[-1].ok is None:
        screen.print("[yellow]Nothing is wrong, but no API answers.[/yellow]")
    else:
        screen.print("[green]All is well.[/green]")
