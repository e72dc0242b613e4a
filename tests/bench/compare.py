"""Everpost and its peers in one run, under the same load; `make bench` writes the README's table with it.

python tests/bench/compare.py [--quick] [--readme] [--json FILE]
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from peers.measuring import measure_peer
from peers.stacks import PEERS, make_environment

from everpost.bench.machine import machine_line
from everpost.bench.plan import FULL, QUICK, Plan
from everpost.bench.report import Report, number
from everpost.bench.run import run_bench
from everpost.bench.samples import Results, Summary

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
COMMANDS = {FULL.tasks: "`make bench`", QUICK.tasks: "`.venv/bin/python tests/bench/compare.py --quick`"}
OURS = "**Everpost**"
GROUPS = ("end", "idle", "retry")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "answers/s": ("end_to_end_submit",),
    "end to end tasks/s": ("end_to_end",),
    "answer → recorded p50 / p99 ms, idle": ("recorded_p50", "recorded_p99"),
    "retry p50 ms, idle": ("retry_redis_p50",),
    "CPU ms a task: API + worker + Valkey": ("cpu_api", "cpu_worker", "cpu_valkey"),
    "memory MB: API + worker": ("rss_api", "rss_worker"),
}
SEPARATORS = {"recorded_p99": " / "}


class Comparison(msgspec.Struct, frozen=True):
    """One run: Everpost's whole report, and each peer's metrics."""

    everpost: Report
    peers: Mapping[str, Mapping[str, Summary]]


def say(text: str) -> None:
    """Progress goes beside the output."""
    sys.stderr.write(f"{text}\n")


async def compare(plan: Plan, folder: Path, venvs: Path, *, only: Sequence[str] = ()) -> Comparison:
    """Measure everything, one stack at a time."""
    say("environments of the peers ...")
    programs = {peer.folder: make_environment(peer, venvs) for peer in PEERS}
    ours = await run_bench(plan, folder, say, only=only)
    peers = {}
    for position, peer in enumerate(PEERS):
        own = folder / f"peer-{position}"
        own.mkdir()
        peers[peer.title] = summaries(await measure_peer(peer, programs[peer.folder], own, plan, say))
    return Comparison(ours, peers)


def summaries(results: Results) -> dict[str, Summary]:
    """Every metric's summary."""
    return {name: summary for name in results if (summary := results.summary(name))}


def table(comparison: Comparison) -> str:
    """The README's table, its head the machine and the command, its foot the ratios."""
    ours = {name: row.summary for name, row in comparison.everpost.metrics.items()}
    stacks: dict[str, Mapping[str, Summary]] = {OURS: ours, **comparison.peers}
    lines = [
        row("stack", list(COLUMNS)),
        f"|---|{'---|' * len(COLUMNS)}",
        *(
            f"| {title} | {' | '.join(cell(seen, names) for names in COLUMNS.values())} |"
            for title, seen in stacks.items()
        ),
    ]
    return "\n".join([head(comparison), "", *lines, "", foot(ours, comparison.peers)])


def row(title: str, cells: Sequence[str]) -> str:
    """A line of the table."""
    return f"| {title} | {' | '.join(cells)} |"


def cell(seen: Mapping[str, Summary], names: Sequence[str]) -> str:
    """The medians of some metrics."""
    shown = "".join(f"{SEPARATORS.get(name, ' + ')}{number(seen[name].median)}" for name in names if name in seen)
    return shown.removeprefix(" + ") or "-"


def head(comparison: Comparison) -> str:
    """What was measured, on what, and how to do it again."""
    ours = comparison.everpost
    return (
        f"Medians of {ours.plan.runs} runs of {ours.plan.tasks:,} no-op tasks over {ours.plan.connections} "
        "connections, the load generator on the same machine; one API and one worker process each. "
        f"{COMMANDS[ours.plan.tasks]}, "
        f"{datetime.now(UTC):%Y-%m-%d}, {machine_line(ours.machine, ours.versions)}."
    )


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


def write_between(text: str, made: str) -> str:
    """The document with what is between the markers replaced.

    Raises:
        ValueError: It has no markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END} to write between")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main() -> None:
    """Measure, print, and with --readme write the table into the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="measure less")
    parser.add_argument("--only-peers-columns", action="store_true", help="leave out what the table has no column for")
    parser.add_argument("--readme", action="store_true", help="write the table into the README")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    parser.add_argument(
        "--venvs", type=Path, default=ROOT / ".venv" / "peers", help="where the peers' environments are"
    )
    asked = parser.parse_args()
    plan = QUICK if asked.quick else FULL
    only = GROUPS if asked.only_peers_columns else ()
    with tempfile.TemporaryDirectory(prefix="everpost-bench-") as made:
        comparison = asyncio.run(compare(plan, Path(made), asked.venvs, only=only))
    if asked.json:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(comparison)))
    text = table(comparison)
    sys.stdout.write(f"{text}\n")
    if asked.readme:
        README.write_text(write_between(README.read_text("utf-8"), text), "utf-8")


if __name__ == "__main__":
    main()
