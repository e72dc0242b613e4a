"""Everpost on PostgreSQL, in turns with SQLite and with oban-py; `compare.py --postgresql` runs it alone."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from peers.measuring import PeerBench, measure_peer, plan_for
from peers.stacks import OBAN, PeerStack, Server, make_environment
from tables import COLUMNS, head, summaries, table_of

from everpost.bench.metrics import PARTS
from everpost.bench.plan import FULL, Plan, resized
from everpost.bench.report import Report, number
from everpost.bench.run import run_bench
from everpost.bench.samples import Results, Summary
from everpost.bench.stack import BenchStack
from everpost.bench.throughput import run_slice, warm_up
from everpost.store import measured_store, scratch_store
from postgresql_server import PostgresqlServer

GROUPS = ("end", "beside", "scale", "idle", "retry")
OURS = "**Everpost on PostgreSQL**"
WITH_DATABASE = {**COLUMNS, "CPU ms a task: PostgreSQL": ("cpu_database",)}
SERVER = {"shared_buffers": "1GB", "max_wal_size": "4GB", "autovacuum_naptime": "1min"}
"""The rest is as it comes: every commit is on the disk before it is answered."""

RUNS = 3  # of each figure that is not measured in turns; all of this takes about ten minutes

Say = Callable[[str], None]


class OnPostgresql(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        grown: With a large history; None if it was left out.
        oban: The peer's metrics, and `in_turns`: how many times its tasks end to end Everpost had, in each pair.
    """

    everpost: Report
    oban: Mapping[str, Summary]
    grown: Report | None = None


class _Server(PostgresqlServer):
    """A server made by initdb with its defaults; the tests' servers have smaller files of the log."""

    def _copy_of_empty(self) -> None:
        self.run("initdb", "--username=everpost", "--auth=trust", "--encoding=UTF8", "--locale=C")


@contextmanager
def durable_server() -> Iterator[str]:
    """The address of a PostgreSQL that flushes every commit to the disk."""
    server = _Server.new(SERVER)
    try:
        yield server.address()
    finally:
        server.remove()


async def measure_on_postgresql(plan: Plan, folder: Path, venvs: Path, say: Say, *, growth: int) -> OnPostgresql:
    """Measure everything on one server.

    Args:
        growth: Rows of history to measure with; 0 leaves that out.
    """
    plan = resized(plan, runs=min(plan.runs, RUNS), batch_retries=min(plan.batch_retries, plan.one_by_one))
    say("environment of oban-py ...")
    programs = make_environment(OBAN, venvs)
    with durable_server() as address:
        ours = await run_bench(plan, folder, say, only=GROUPS, server=address)
        oban = await _measure_oban(plan, folder, programs, say, address)
        large = await run_bench(plan, folder, say, only=["grown"], growth=growth, server=address) if growth else None
    return OnPostgresql(ours, summaries(oban), large)


async def _measure_oban(plan: Plan, folder: Path, programs: Path, say: Say, address: str) -> Results:
    with _folder_and_server(folder, address) as (own, server):
        results = await measure_peer(OBAN, programs, own, plan, say, server)
    with _folder_and_server(folder, address) as (own, server), scratch_store(address) as database:
        say("oban-py and Everpost in turns ...")
        async with (
            BenchStack(own / "everpost", database).running() as ours,
            PeerStack(OBAN, programs, own, server).running() as theirs,
        ):
            await run_slice(ours, plan, warm_up(plan))
            peer = PeerBench(theirs, plan_for(OBAN, resized(plan, tasks=plan.pair_tasks)))
            await peer.end_to_end(Results())
            for _ in range(plan.pairs // 2):
                mine, other = await run_slice(ours, plan, plan.pair_tasks), Results()
                await peer.end_to_end(other)
                results.add(in_turns=mine.rate / summaries(other)["end_to_end"].median)
            await ours.stop_workers()
            ours.check_calls()
    return results


@contextmanager
def _folder_and_server(folder: Path, address: str) -> Iterator[tuple[Path, Server]]:
    """A folder, and a database of the peer's own."""
    pid = measured_store(address).server_pid()
    assert pid is not None
    with tempfile.TemporaryDirectory(dir=folder) as made, scratch_store(address) as database:
        yield Path(made), Server(database, pid)


def table(found: OnPostgresql, command: str) -> str:
    """The second table of docs/benchmarks.md, its head the machine and the command, its foot the ratios."""
    ours = {name: row.summary for name, row in found.everpost.metrics.items()}
    lines = table_of({OURS: ours, OBAN.title: found.oban}, WITH_DATABASE)
    return "\n".join([head(found.everpost, command), "", *lines, "", *foot(ours, found)])


def foot(ours: Mapping[str, Summary], found: OnPostgresql) -> list[str]:
    """What was compared in turns."""
    cheaper = found.oban["cpu_database"].median / ours["cpu_database"].median
    oban = f"In turns with oban-py: {_times(found.oban['in_turns'])} the tasks end to end"
    lines = [
        f"In turns with Everpost on SQLite: {_times(ours['beside'])} the tasks end to end.",
        f"{oban}; it costs PostgreSQL {cheaper:.1f} times the CPU a task.",
        _scaled(ours),
    ]
    if found.grown and found.grown.growth:
        grown = found.grown.growth
        lines.append(
            f"With {grown.rows:,} rows of history, in turns with none: {_times(grown.metrics['grown'])} the tasks end "
            "to end."
        )
    return [f"- {line}" for line in lines]


def _scaled(ours: Mapping[str, Summary]) -> str:
    """How the costs of a task change when the fleet grows."""
    grows, shares = (
        ", ".join(f"{name} {ours[f'{row}_{part}'].median:.2f}" for part, name in PARTS.items())
        for row in ("scale", "scale_shared")
    )
    fsyncs = [number(ours[f"scale_{size}_fsyncs"].median) for size in ("one", "four")]
    return (
        f"From 1 API and 1 worker to 4 and 4, with four times the clients, CPU a task is multiplied by: {grows}. "
        f"Against 4 stacks of 1 and 1 at once, which share only the machine and the server, by: {shares}. "
        f"1,000 tasks take {fsyncs[0]} and {fsyncs[1]} flushes to the disk. {number(ours['scale_waits'].median)} % of "
        "the looks found a connection that waited for a lock."
    )


def _times(seen: Summary) -> str:
    return f"{seen.median:.2f} times (median of {len(seen.runs)} pairs, {seen.min:.2f} to {seen.max:.2f})"


def command_of(plan: Plan) -> str:
    """The command that measures this alone."""
    return f"`.venv/bin/python tests/bench/compare.py --postgresql{'' if plan.tasks == FULL.tasks else ' --quick'}`"
