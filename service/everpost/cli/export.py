"""`everpost export`: all tasks that match, as NDJSON or CSV, into a file or a pipe; it goes on where it was cut off."""

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import click

from everpost.cli.bulk import with_whole_ids
from everpost.cli.client import Api, ApiUnreachable
from everpost.cli.exported_rows import last_cursor, whole_rows
from everpost.cli.options import filter_options, url_option
from everpost.cli.output import say, say_lines

TRIES = 10  # without a row in between
PAUSE_S = 2.0
CHUNK_BYTES = 1 << 20

EXAMPLES = """\b
Examples:
  everpost export --status failed --output failed.ndjson
  everpost export --format csv --no-data --created-after 2026-01-01 --output january.csv
  everpost export --output all.ndjson --resume
  everpost export --q timeout | jq -r .task_id
"""


@click.command(epilog=EXAMPLES)
@filter_options
@click.option(
    "--format", "format_", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True,
    help="NDJSON for programs, CSV for people.",
)  # fmt: skip
@click.option("--data/--no-data", default=True, show_default=True, help="With the tasks' data.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file; without it, standard output."
)
@click.option("--resume", is_flag=True, help="Go on behind the last whole row of the file, with the same filter.")
@url_option
def export(format_: str, data: bool, output: Path | None, resume: bool, url: str | None, **filters: str | None) -> None:
    """Export the tasks that match all given filters, newest first.

    If the connection breaks, the export goes on behind the last whole row. Hidden members of the data are `***`.
    """
    if resume and output is None:
        raise click.UsageError("--resume needs --output.", click.get_current_context())
    with Api.open(url) as api:
        wanted = {**with_whole_ids(api, filters), "format": format_, "with_data": str(data).lower()}
        if output is None:
            write_rows(api, wanted, _Screen() if sys.stdout.isatty() else sys.stdout.buffer, None)
            return
        cursor = _cut_to_whole_rows(output, format_) if resume and output.exists() else None
        with output.open("ab" if resume else "xb") as file:
            rows = write_rows(api, wanted, file, cursor)
    say(f"{rows} tasks in {output}", err=True)


class _Screen:
    """A terminal, which no text of a task may control."""

    def write(self, text: bytes) -> int:
        say_lines(text.decode().rstrip("\r\n"))
        return len(text)

    def flush(self) -> None:
        pass


def _cut_to_whole_rows(path: Path, format_: str) -> str | None:
    """Cut a file that was not finished after its last whole row; the cursor of that row, or None without one."""
    with path.open("r+b") as file:
        cursor, size_bytes = last_cursor(iter(lambda: file.read(CHUNK_BYTES), b""), format_)
        file.truncate(size_bytes)
    return cursor


def write_rows(api: Api, wanted: Mapping[str, Any], file: "BinaryIO | _Screen", cursor: str | None) -> int:
    """Write whole rows only; the number of rows, without the head.

    Raises:
        ApiUnreachable: It was cut off, and could not go on.
        ApiRefused: The API answered with an error.
    """
    rows = tries = 0
    while True:
        try:
            for text, count, following in _rows(api, {**wanted, "cursor": cursor}):
                file.write(text)
                rows, cursor, tries = rows + count, following or cursor, 0
        except ApiUnreachable:
            tries += 1
            if tries >= TRIES:
                raise
            file.flush()
            say(f"Cut off after {rows} tasks; going on.", err=True)
            time.sleep(PAUSE_S)
        else:
            return rows


def _rows(api: Api, wanted: Mapping[str, Any]) -> Iterator[tuple[bytes, int, str | None]]:
    has_head = wanted["format"] == "csv" and wanted["cursor"] is None
    return whole_rows(api.download("/tasks/export", wanted), str(wanted["format"]), has_head=has_head)
