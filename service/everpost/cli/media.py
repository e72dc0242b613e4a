"""`everpost files`: media files, through the running API, and registered folders, in the database."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from everpost.cli.audited import keep_entry
from everpost.cli.client import Api, ApiRefused, task_path
from everpost.cli.files import with_store
from everpost.cli.options import api_options, database_options, database_settings, url_option
from everpost.cli.output import say, say_json
from everpost.cli.screen import console
from everpost.cli.transfer import upload_path
from everpost.clock import system_clock
from everpost.files.folders import Step, scan_folder
from everpost.findings import size_text
from everpost.printable import printable
from everpost.store import Store

COLUMNS = ("file_id", "status", "size", "content_type", "length", "filename", "last_platform")

EXAMPLES = """\b
Examples:
  everpost files upload video.mp4
  everpost files list
  everpost files register /srv/media --name shared
"""


@click.group(name="files", epilog=EXAMPLES)
def files() -> None:
    """Upload, list, show and delete media files, and register folders of them.

    A task names a file by its `file_id`.
    """


@files.command(name="upload")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@api_options
def upload(paths: tuple[Path, ...], url: str | None, as_json: bool) -> None:
    """Upload files, and print their ids. An upload that is interrupted goes on where it stopped."""
    with Api.open(url) as api:
        for path in paths:
            answer = upload_path(api, path)
            if as_json:
                say_json(answer)
            else:
                say(f"{answer['file_id']}  {path}")


@files.command(name="list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="The most files to show.")
@click.option("--cursor", type=int, metavar="N", help="Continue after an earlier page, which printed this number.")
@api_options
def list_files(limit: int, cursor: int | None, url: str | None, as_json: bool) -> None:
    """List files, newest first."""
    with Api.open(url) as api:
        answer = api.get("/files", {"limit": limit, "cursor": cursor})
    if as_json:
        say_json(answer)
        return
    screen = console()
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for file in answer["data"]:
        table.add_row(*(printable(cell) for cell in _cells(file)))
    screen.print(table)
    usage = answer["usage"]
    quota = f" of {size_text(usage['quota_bytes'])}" if usage["quota_bytes"] else ""
    more = f"; go on with --cursor {answer['next_cursor']}" if answer["next_cursor"] else ""
    say(f"{usage['files']} uploaded files, {size_text(usage['size_bytes'])}{quota}; {usage['uploads']} uploads{more}")


def _cells(file: Mapping[str, Any]) -> Iterator[str]:
    yield file["file_id"]
    yield file["status"]
    yield "" if file["size_bytes"] is None else size_text(file["size_bytes"])
    yield file["content_type"] or ""
    yield "" if file["duration_s"] is None else f"{file['duration_s']:.1f} s"
    yield file["filename"]
    yield file["last_platform"] or ""


@files.command(name="show")
@click.argument("file_id")
@api_options
def show(file_id: str, url: str | None, as_json: bool) -> None:
    """Show a file: its digest, its dimensions, where it was published, and the unfinished tasks that name it."""
    with Api.open(url) as api:
        answer = api.get(f"/files/{task_path(file_id)}")
    if as_json:
        say_json(answer)
        return
    for name, value in answer["data"].items():
        if value not in (None, []):
            say(f"{name:14} {', '.join(value) if isinstance(value, list) else value}")


@files.command(name="delete")
@click.argument("file_ids", nargs=-1, required=True, metavar="FILE_ID...")
@url_option
def delete(file_ids: tuple[str, ...], url: str | None) -> int:
    """Delete files that no unfinished task names, and uploads that are not complete."""
    failed = 0
    with Api.open(url) as api:
        for file_id in file_ids:
            try:
                api.delete(f"/files/{task_path(file_id)}")
            except ApiRefused as error:
                say(f"{file_id}: {error.message}", err=True)
                failed = 1
            else:
                say(f"{file_id} deleted")
    return failed


@files.command(name="register")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--name", metavar="NAME", help="Its name; default: the folder's own.")
@database_options
def register(folder: Path, name: str | None, data: str | None, database: str | None) -> None:
    """Register a folder: each file in it gets a file_id, and stays where it is.

    Workers must see the folder at the same path. Run it again after files were added or changed. Everpost may be
    running.
    """
    settings = database_settings(data, database)
    root = folder.resolve()
    name = checked_root(name or root.name)

    async def work(store: Store) -> None:
        counts: Counter[Step] = Counter()
        async for scanned in scan_folder(store.files, name, root, system_clock):
            counts[scanned.step] += 1
            if scanned.step is Step.ADDED and scanned.record is not None:
                say(f"{scanned.record.file_id}  {scanned.file_path}")
            elif scanned.step is Step.UNREADABLE:
                say(f"cannot be read: {scanned.file_path}", err=True)
        await keep_entry(store, "files register", name, folder=str(root), added=counts[Step.ADDED])
        say(f"{name}: " + ", ".join(f"{counts[step]} {step}" for step in Step))

    asyncio.run(with_store(settings, work))


@files.command(name="unregister")
@click.argument("name")
@database_options
def unregister(name: str, data: str | None, database: str | None) -> None:
    """Forget a registered folder, and the records of its files. The files stay where they are."""
    settings = database_settings(data, database)

    async def work(store: Store) -> None:
        if name not in await store.files.roots():
            raise click.ClickException(f"No folder is registered as {name!r}.")
        await store.files.set_root(name, None)
        await keep_entry(store, "files unregister", name)
        say(f"{name} is not registered any more.")

    asyncio.run(with_store(settings, work))


def checked_root(name: str) -> str:
    """The name of a registered folder.

    Raises:
        BadParameter: It is the name of the uploads, or too long.
    """
    if name == "uploads" or not 0 < len(name.encode()) <= 100 or not name.isprintable():  # noqa: PLR2004 - bytes
        raise click.BadParameter(f"{name!r} cannot be a folder's name.", param_hint="--name")
    return name
