"""`everpost bench`: measure Everpost on this machine."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from everpost.children import stopped_by_signals
from everpost.cli.output import say, say_json
from everpost.cli.screen import console
from everpost.settings import Settings

GROUPS = (
    *(
        "engine",
        "claims",
        "accept",
        "two",
        "end",
        "beside",
        "scale",
        "fleet",
        "due",
        "idle",
        "retry",
        "list",
        "backlog",
        "limits",
        "held",
        "start",
    ),
    "grown",
)

NEEDS = {"beside": "--database", "scale": "--database", "grown": "--growth"}

EXAMPLES = """\b
Examples:
  everpost bench --quick
  everpost bench --only end --only accept --json
  everpost bench --growth 10000000 --folder /mnt/disk
  everpost bench --only end --database postgresql://everpost@127.0.0.1/postgres
"""


@click.command(epilog=EXAMPLES)
@click.option("--quick", is_flag=True, help="Measure less, in under a minute.")
@click.option("--only", type=click.Choice(GROUPS), multiple=True, help="Measure only this; may be repeated.")
@click.option("--runs", type=click.IntRange(1, 100), help="How many times each is measured.")
@click.option("--tasks", type=click.IntRange(64, 1_000_000), help="Tasks per run.")
@click.option(
    "--growth",
    type=click.IntRange(0),
    default=0,
    metavar="ROWS",
    help="Measure again with this many rows in the history.",
)
@click.option(
    "--database", metavar="ADDRESS", help="Measure on this PostgreSQL server, each stack on a new database of its own."
)
@click.option("--folder", type=click.Path(path_type=Path), help="Folder of the temporary files: the disk to measure.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
def bench(
    quick: bool,
    only: tuple[str, ...],
    runs: int | None,
    tasks: int | None,
    growth: int,
    database: str | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure Everpost on this machine, on its own stack: rates, waits, CPU and memory.

    Each figure is measured several times after a warm-up; the table shows minimum, median and maximum. Stock arq is
    measured in the same run. Every task is counted in the database file: if one is lost, repeated or not answered,
    the bench reports only that. It needs neither settings nor Redis, and leaves nothing behind.
    """
    # Imported here because they load much that the other commands do not need.
    from everpost.bench.plan import FULL, QUICK, resized  # noqa: PLC0415
    from everpost.bench.report import print_report  # noqa: PLC0415
    from everpost.bench.run import run_bench  # noqa: PLC0415
    from everpost.logs import configure_logging  # noqa: PLC0415

    given = {"--database": database, "--growth": growth}
    for group in only:
        if group in NEEDS and not given[NEEDS[group]]:
            raise click.UsageError(f"--only {group} needs {NEEDS[group]}.")
    configure_logging(Settings(), at_least="warning")
    plan = resized(QUICK if quick else FULL, runs=runs, tasks=tasks)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with (
        stopped_by_signals(),
        tempfile.TemporaryDirectory(prefix="everpost-bench-", dir=folder) as made,
        _progress() as say,
    ):
        answer = asyncio.run(run_bench(plan, Path(made), say, only=only, growth=growth, server=database))
    if as_json:
        say_json(answer)
    else:
        print_report(answer, console())


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Reports progress on standard error: one changing line on a terminal, otherwise one line per step."""
    screen = Console(stderr=True, highlight=False)
    if not screen.is_terminal:
        yield lambda text: say(text, err=True)
        return
    with screen.status("starting ...") as status:
        yield status.update
