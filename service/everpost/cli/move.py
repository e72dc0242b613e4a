"""`everpost move`: take a whole stack from one database to another, such as from SQLite to PostgreSQL."""

import asyncio
import base64
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec
from rich.progress import TaskID

from everpost.actions import move as moving
from everpost.actions.move import Moved
from everpost.cli.audited import keep_entry_at
from everpost.cli.bars import progress_bars
from everpost.cli.options import database_settings
from everpost.cli.output import say, say_json
from everpost.database_address import is_postgresql, outcomes_folder, sqlite_path
from everpost.failpoints import watch_failpoints
from everpost.store import maintenance_of
from everpost.store.fitting import is_utf8
from everpost.store.maintenance import Maintenance
from everpost.store.moving import COLUMNS, Fitted, Row, Table, Value

EXAMPLES = """\b
Examples:
  everpost move everpost-data/everpost.db postgresql://everpost@db.example.com/everpost
  everpost move postgresql://everpost@db.example.com/everpost /srv/everpost/everpost.db
  everpost move everpost-data/everpost.db --abandon
"""


@click.command(epilog=EXAMPLES)
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would be moved, and which rows would be changed.")
@click.option("--abandon", is_flag=True, help="Give an unfinished move up, and open SOURCE again.")
@click.option(
    "--odd-rows",
    type=click.Path(path_type=Path),
    default=Path("everpost-move-odd-rows.ndjson"),
    show_default=True,
    metavar="FILE",
    help="Where rows go that TARGET can only keep changed or not at all, as they are in SOURCE.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
def move(source: str, target: str | None, dry_run: bool, abandon: bool, odd_rows: Path, as_json: bool) -> None:
    """Move every task, decision and key from the database SOURCE to the new database TARGET; stop Everpost first.

    SOURCE and TARGET are paths or addresses, as in EVERPOST_DATABASE. Every row is copied, then all rows are read again
    and compared. Only then TARGET can be opened. SOURCE keeps its rows and is closed from the beginning on, so no task
    is sent from both.

    A move that was interrupted goes on when the command is repeated. Redis is not touched: use the same one afterwards.
    """
    watch_failpoints(database_settings(None, None).failpoints)
    place = maintenance_of(source)
    if not place.exists():
        raise click.ClickException(f"There is no database {place.name}.")
    if abandon:
        _abandon(place)
        asyncio.run(keep_entry_at(source, "move --abandon"))
        return
    if target is None:
        raise click.UsageError("Missing argument 'TARGET'.")
    other = maintenance_of(target)
    if place.name == other.name:
        raise click.UsageError("SOURCE and TARGET are the same database.")
    if not is_postgresql(source) and not is_postgresql(target):
        raise click.UsageError("SOURCE and TARGET are SQLite files: `everpost backup` copies one.")
    _check_outcomes(source)
    answer = asyncio.run(_move(place, other, odd_rows, dry_run=dry_run))
    if not dry_run and answer.tables:
        asyncio.run(keep_entry_at(target, "move", place.name))
    if as_json:
        say_json(answer)
        return
    _show(answer, place, other, odd_rows, dry_run=dry_run)


def _check_outcomes(source: str) -> None:
    """Check that no outcome waits beside the database: in the new one, its task would end as unknown."""
    folder = None if is_postgresql(source) else outcomes_folder(sqlite_path(source))
    if folder is not None and folder.is_dir() and any(folder.iterdir()):
        raise click.ClickException(
            f"Outcomes of tasks wait in {folder}: start a worker on SOURCE, so that it records them, and stop it again."
        )


def _abandon(place: Maintenance) -> None:
    async def work() -> bool:
        store = await place.open_moved()
        try:
            return await moving.abandon(store)
        finally:
            await store.close()

    if not asyncio.run(work()):
        raise click.ClickException(f"{place.name} is not being moved.")
    say(f"{place.name} can be opened again. What was copied from it cannot: remove that.")


async def _move(place: Maintenance, other: Maintenance, odd_rows: Path, *, dry_run: bool) -> Moved:
    async with AsyncExitStack() as cleanup:
        source = await place.open_moved()
        cleanup.push_async_callback(source.close)
        target = await other.open_moved()
        cleanup.push_async_callback(target.close)
        tell = cleanup.enter_context(_telling())
        report = cleanup.enter_context(_reporting(odd_rows))
        work = moving.foresee if dry_run else moving.move
        return await work(source, target, tell, report)


def _show(answer: Moved, place: Maintenance, other: Maintenance, odd_rows: Path, *, dry_run: bool) -> None:
    if dry_run:
        say(f"{place.name} would be moved to {other.name}:")
    elif answer.tables:
        say(f"{place.name} was moved to {other.name}; all rows were read again, and are the same:")
    else:
        say(f"{place.name} had been moved to {other.name} already.")
    for table, tally in answer.tables.items():
        odd = f", {tally.changed:,} changed, {tally.left_out:,} left out" if tally.changed or tally.left_out else ""
        say(f"  {table}: {tally.rows:,} rows{odd}, digest {tally.digest}")
    if any(tally.changed or tally.left_out for tally in answer.tables.values()):
        say(f"Each row that was changed or left out is in {odd_rows}, as it is in the old database.")
    if not dry_run:
        say(f"Set EVERPOST_DATABASE to the address of {other.name}, and start Everpost. {place.name} stays closed.")


@contextmanager
def _telling() -> Iterator[moving.Progress]:
    with progress_bars() as bars:
        shown: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in shown:
                shown[what] = bars.add_task(what, total=total)
            bars.update(shown[what], completed=done, total=max(done, total))

        yield tell


@contextmanager
def _reporting(path: Path) -> Iterator[moving.Report]:
    """Writes each row that is changed or left out as a line of JSON. The file is made with the first one."""
    with ExitStack() as cleanup:
        opened: list[BinaryIO] = []

        def report(table: Table, row: Row, fitted: Fitted) -> None:
            if not opened:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds clients' data
                opened.append(cleanup.enter_context(os.fdopen(descriptor, "wb")))
            opened[0].write(_line_of(table, row, fitted))

        yield report


def _line_of(table: Table, row: Row, fitted: Fitted) -> bytes:
    values = {column: _shown(value) for column, value in zip(COLUMNS[table], row.values, strict=True)}
    told = {"table": table, "row": row.label, "kept": fitted.values is not None, "why": fitted.faults, "values": values}
    return msgspec.json.encode(told) + b"\n"


def _shown(value: Value) -> Any:
    """The value in JSON: what is not UTF-8 is shown in base64."""
    if isinstance(value, str) and not is_utf8(value):
        value = value.encode("utf-8", "surrogateescape")
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
