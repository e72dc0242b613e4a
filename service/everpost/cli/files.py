"""The commands that work on the database file: `archive`, `purge`, `migrate`, `compact`, `import`, `backup`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import tzinfo
from pathlib import Path

import click

from everpost.cli.audited import keep_entry, keep_entry_at
from everpost.cli.bars import progress_bars
from everpost.cli.options import database_options, database_settings
from everpost.cli.output import say
from everpost.clock import DAY_MS, read_time, system_clock, to_text
from everpost.failpoints import watch_failpoints
from everpost.findings import size_text
from everpost.pace import Pace
from everpost.settings import MOST_DAYS, Settings
from everpost.store import Store, maintenance_of, open_store
from everpost.store.archive import Archive
from everpost.store.archiving import archive_older

CHUNK = 1_000
WORTH_TELLING_BYTES = 1 << 20


@click.command(
    epilog="\b\nExamples:\n  everpost archive --older-than-days 90 --dry-run\n  everpost archive --older-than-days 90"
)
@click.option(
    "--older-than-days",
    type=click.IntRange(1, MOST_DAYS),
    required=True,
    metavar="N",
    help="Archive successes that ended at least this long ago.",
)
@click.option("--dry-run", is_flag=True, help="Only print the number of tasks.")
@database_options
def archive(older_than_days: int, dry_run: bool, data: str | None, database: str | None) -> None:
    """Move successes that ended more than N days ago from the history to the archive.

    Archived tasks can still be retried, but lists no longer show them. Everpost may be running.
    """
    settings = database_settings(data, database)
    before_ms = system_clock() - older_than_days * DAY_MS

    async def work(store: Store) -> None:
        total = await store.archive.count_older(before_ms)
        if dry_run:
            say(f"{total} tasks would be archived.")
            return
        done = await _follow("archiving", total, archive_older(store, before_ms, Pace(CHUNK), system_clock))
        await keep_entry(store, "archive", older_than_days=older_than_days, tasks=done)
        say(f"{done} tasks archived.")

    asyncio.run(with_store(settings, work))


@click.command(epilog="\b\nExample:\n  everpost purge --archived-before 2025-01-01 --yes")
@click.option(
    "--archived-before",
    required=True,
    metavar="DATE",
    help="Tasks archived before this time; a time without an offset is in EVERPOST_TIMEZONE.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_options
def purge(archived_before: str, yes: bool, data: str | None, database: str | None) -> None:
    """Destroy archived tasks. They cannot be retried or shown any more.

    No other command destroys tasks. It asks first; without a terminal it needs --yes. Everpost may be running.
    """
    settings = database_settings(data, database)
    before_ms = _time_of(archived_before, settings.zone)

    async def work(store: Store) -> None:
        total = await store.archive.count_archived(before_ms)
        if total:
            _make_sure(f"Destroy {total} tasks archived before {to_text(before_ms)} permanently?", yes=yes)
        done = await _follow("destroying", total, store.archive.purge(before_ms, Pace(CHUNK)))
        await keep_entry(store, "purge", archived_before=to_text(before_ms), tasks=done)
        say(f"{done} tasks destroyed.")
        await _give_back(store.archive)

    asyncio.run(with_store(settings, work))


@click.command(epilog="\b\nExample:\n  everpost migrate --database postgresql://everpost@db.example.com/everpost")
@database_options
def migrate(data: str | None, database: str | None) -> None:
    """Bring the database up to this version of Everpost, as the first start would; make it if it does not exist.

    With PostgreSQL, processes of the version before may serve meanwhile. This can be repeated.
    """
    settings = database_settings(data, database)

    asyncio.run(keep_entry_at(settings.database_address, "migrate", zone=settings.zone))
    say(f"{settings.shown_database} is up to date.")


@click.command(epilog="\b\nExample:\n  everpost compact")
@database_options
def compact(data: str | None, database: str | None) -> None:
    """Give the unused space of the database file back to the file system; stop Everpost first.

    Only a file begun by an older Everpost or the original needs this, once: afterwards `everpost purge` frees space
    automatically. The file is copied, and the copy is checked and flushed before it replaces the file. So the disk must
    have room for both.
    """
    settings = database_settings(data, database)
    place = maintenance_of(settings.database_address)
    sizes = place.compact()
    say(f"{place.name}: {size_text(sizes.before_bytes)} before, {size_text(sizes.after_bytes)} now, checked.")
    freed = max(0, sizes.before_bytes - sizes.after_bytes)
    asyncio.run(keep_entry_at(settings.database_address, "compact", zone=settings.zone, freed_bytes=freed))


@click.command(name="import", epilog="\b\nExample:\n  everpost import /srv/original/task_queue.db")
@click.argument("source", type=click.Path(path_type=Path), metavar="TASK_QUEUE_DB")
@database_options
def import_tasks(source: Path, data: str | None, database: str | None) -> None:
    """Copy the task_queue of an original system's second file into the database.

    These tasks do not run, but can be listed and retried. Importing again adds only new tasks. The source file is only
    read.
    """
    settings = database_settings(data, database)
    with progress_bars() as progress:
        bar = progress.add_task("importing", total=None)
        report = maintenance_of(settings.database_address).import_queue(
            source, lambda done, total: progress.update(bar, completed=done, total=total)
        )
    asyncio.run(keep_entry_at(settings.database_address, "import", str(source), added=report.added))
    unnamed = f", {report.without_id} without an id left out" if report.without_id else ""
    say(f"{report.read} tasks read: {report.added} added, {report.present} here already{unnamed}.")


@click.command(epilog="\b\nExample:\n  everpost backup /srv/backup/everpost-$(date +%F).db")
@click.argument("target", type=click.Path(path_type=Path), metavar="NEW_FILE")
@database_options
def backup(target: Path, data: str | None, database: str | None) -> None:
    """Copy the database to a new file, as it is at one moment, while Everpost serves.

    The copy is checked and flushed before it gets its name. No file is overwritten.
    """
    settings = database_settings(data, database)
    made = maintenance_of(settings.database_address).back_up(target)
    say(f"{made.path}: {size_text(made.size_bytes)}, checked.")


async def with_store(settings: Settings, work: Callable[[Store], Awaitable[None]]) -> None:
    """Do `work` on the open store.

    Raises:
        ClickException: There is no database.
    """
    place = maintenance_of(settings.database_address)
    if not await asyncio.to_thread(place.exists):
        raise click.ClickException(f"There is no database {place.name}.")
    watch_failpoints(settings.failpoints)
    store = await open_store(settings.database_address, zone=settings.zone)
    try:
        await work(store)
    finally:
        await store.close()


async def _give_back(archive: Archive) -> None:
    """Free the unused space of the file, and report it if it is worth mentioning."""
    free_bytes = await archive.free_space()
    if free_bytes < WORTH_TELLING_BYTES:
        return
    if given_bytes := await _follow("giving back", free_bytes, archive.give_back_space(Pace(CHUNK))):
        say(f"{size_text(given_bytes)} given back to the file system.")
    else:
        say(f"{size_text(free_bytes)} of the file are unused; new tasks use them, `everpost compact` frees them.")


async def _follow(description: str, total: int, steps: AsyncIterator[int]) -> int:
    """Show the progress, step by step; return the number of tasks."""
    done = 0
    with progress_bars() as progress:
        bar = progress.add_task(description, total=total)
        async for moved in steps:
            done += moved
            progress.update(bar, completed=done, total=max(total, done))
    return done


def _time_of(text: str, zone: tzinfo) -> int:
    try:
        return read_time(text, zone)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not a date such as 2026-01-31.", param_hint="--archived-before"
        ) from error


def _make_sure(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on; pass --yes to destroy without asking.")
    click.confirm(question, abort=True, err=True)
