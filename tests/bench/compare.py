"""Everpost and its peers in one run, under the same load; `make bench` writes the documents' tables with it.

python tests/bench/compare.py [--postgresql | --sqlite] [--quick] [--write] [--json FILE]
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "docs_site"))
import capacity
import on_postgresql
from on_postgresql import OnPostgresql, measure_on_postgresql
from peers.measuring import measure_peer
from peers.stacks import OBAN, PEERS, make_environment
from tables import COLUMNS, SHORT, head, short_head, summaries, table_of

from everpost.bench.plan import FULL, QUICK, Plan
from everpost.bench.report import Report
from everpost.bench.run import run_bench
from everpost.bench.samples import Summary
from everpost.logs import configure_logging
from everpost.settings import Settings
from marked_text import write_between

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
COMMANDS = {FULL.tasks: "`make bench`", QUICK.tasks: "`.venv/bin/python tests/bench/compare.py --quick`"}
OURS = "**Everpost**"
PLACES = {"bench": BENCHMARKS, "bench in short": README, "bench on PostgreSQL": BENCHMARKS}
"""The document of each table, by the name of the table's markers."""
GROUPS = ("end", "idle", "retry")
ROWS = {FULL.tasks: 10_000_000, QUICK.tasks: 100_000}  # of a large history


class Comparison(msgspec.Struct, frozen=True):
    """One run: Everpost's whole report and each peer's metrics on SQLite, and the same on PostgreSQL."""

    everpost: Report | None = None
    peers: Mapping[str, Mapping[str, Summary]] = {}
    postgresql: OnPostgresql | None = None


def say(text: str) -> None:
    """Progress goes beside the output."""
    sys.stderr.write(f"{text}\n")


async def compare(plan: Plan, folder: Path, venvs: Path, *, only: Sequence[str] = ()) -> Comparison:
    """Measure everything on SQLite, one stack at a time."""
    say("environments of the peers ...")
    programs = {peer.folder: make_environment(peer, venvs) for peer in PEERS}
    ours = await run_bench(plan, folder, say, only=only)
    peers = {}
    for position, peer in enumerate(PEERS):
        own = folder / f"peer-{position}"
        own.mkdir()
        peers[peer.title] = summaries(await measure_peer(peer, programs[peer.folder], own, plan, say))
    return Comparison(ours, peers)


def table(ours: Report, peers: Mapping[str, Mapping[str, Summary]]) -> str:
    """The table of docs/benchmarks.md, its head the machine and the command, its foot the ratios."""
    own = {name: row.summary for name, row in ours.metrics.items()}
    lines = table_of({OURS: own, **peers}, COLUMNS)
    return "\n".join([head(ours, COMMANDS[ours.plan.tasks]), "", *lines, "", foot(own, peers)])


def short_table(ours: Report, peers: Mapping[str, Mapping[str, Summary]]) -> str:
    """The README's table: the same measurement, in fewer columns."""
    own = {name: row.summary for name, row in ours.metrics.items()}
    lines = table_of({OURS: own, **peers}, SHORT)
    return "\n".join([short_head(ours, COMMANDS[ours.plan.tasks]), "", *lines, "", foot(own, peers)])


def foot(ours: Mapping[str, Summary], peers: Mapping[str, Mapping[str, Summary]]) -> str:
    """How Everpost compares with the best of the peers, column by column."""
    best = max(seen["end_to_end"].median for seen in peers.values())
    soonest = min(seen["recorded_p50"].median for seen in peers.values())
    cheapest = min(seen["cpu"].median for seen in peers.values())
    return (
        f"Against the best peer of each column: {ours['end_to_end'].median / best:.1f} times the tasks end to end, "
        f"{ours['cpu'].median / cheapest:.2f} of the CPU, {ours['recorded_p50'].median / soonest:.2f} of the wait. "
        "Only Everpost has the task on the disk before it answers."
    )


def tables_of(comparison: Comparison) -> dict[str, str]:
    """The tables that were measured, by the names of their markers; `PLACES` has their documents."""
    found = {}
    if comparison.everpost:
        found["bench"] = table(comparison.everpost, comparison.peers)
        found["bench in short"] = short_table(comparison.everpost, comparison.peers)
    if comparison.postgresql:
        command = on_postgresql.command_of(comparison.postgresql.everpost.plan)
        found["bench on PostgreSQL"] = on_postgresql.table(comparison.postgresql, command)
    return found


def write_table(name: str, text: str) -> None:
    """Write a table into its document, between its markers."""
    document = PLACES[name]
    document.write_text(write_between(document.read_text("utf-8"), text, name), "utf-8")


async def measure(asked: argparse.Namespace, folder: Path) -> Comparison:
    """Measure what the options say."""
    plan = QUICK if asked.quick else FULL
    found = Comparison()
    if not asked.sqlite:
        make_environment(OBAN, asked.venvs)  # first, because it needs a Python that may be missing
    if not asked.postgresql:
        found = await compare(plan, folder, asked.venvs, only=GROUPS if asked.only_peers_columns else ())
    if not asked.sqlite:
        rows = ROWS[plan.tasks] if asked.growth is None else asked.growth
        server = await measure_on_postgresql(plan, folder, asked.venvs, say, growth=rows)
        found = msgspec.structs.replace(found, postgresql=server)
    return found


def main() -> None:
    """Measure, print, and with --write write the tables into the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="measure less")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--postgresql", action="store_true", help="measure on PostgreSQL only")
    which.add_argument("--sqlite", action="store_true", help="measure on SQLite only")
    parser.add_argument("--growth", type=int, metavar="ROWS", help="rows of the large history on PostgreSQL")
    parser.add_argument("--only-peers-columns", action="store_true", help="leave out what the table has no column for")
    parser.add_argument("--write", action="store_true", help="write the tables into README.md and docs/")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    parser.add_argument(
        "--venvs", type=Path, default=ROOT / ".venv" / "peers", help="where the peers' environments are"
    )
    asked = parser.parse_args()
    configure_logging(Settings(), at_least="warning")
    with tempfile.TemporaryDirectory(prefix="everpost-bench-") as made:
        comparison = asyncio.run(measure(asked, Path(made)))
    if asked.json:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(comparison)))
    for name, text in tables_of(comparison).items():
        sys.stdout.write(f"{text}\n\n")
        if asked.write:
            write_table(name, text)
    if comparison.postgresql:
        medians = {name: row.summary.median for name, row in comparison.postgresql.everpost.metrics.items()}
        costs = capacity.costs_of(medians)
        sys.stdout.write(f"{capacity.table(costs)}\n")
        if asked.write:
            capacity.write_table(costs)


if __name__ == "__main__":
    main()
