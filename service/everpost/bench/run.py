"""Runs the bench: one measurement after the other, each on its own stack, with every task counted."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

import msgspec

from everpost.bench.backlog import measure_backlog
from everpost.bench.due import measure_due
from everpost.bench.engine import measure_claims, measure_engine
from everpost.bench.fleet import WORKERS, measure_fleet
from everpost.bench.limits import measure_held, measure_limits
from everpost.bench.machine import describe_machine, describe_versions
from everpost.bench.metrics import GROUPS, GROWING
from everpost.bench.pairs import measure_beside, measure_grown
from everpost.bench.plan import Plan
from everpost.bench.report import Report, grown, measured
from everpost.bench.samples import Results
from everpost.bench.scale import measure_scale
from everpost.bench.stack import BenchStack, new_database
from everpost.bench.throughput import measure_accept, measure_end_to_end, measure_two_apis
from everpost.bench.waits import measure_idle, measure_lists, measure_retry, measure_start
from everpost.store import measured_store
from everpost.store.measured import Say

Measure = Callable[[BenchStack, Plan, Results], Awaitable[None]]


class Group(msgspec.Struct, frozen=True):
    """A measurement, and the number of processes it starts with.

    Attributes:
        needs_server: It is left out on SQLite.
        only_grown: It is made only with a large history.
    """

    title: str
    measure: Measure
    apis: int = 1
    workers: int = 1
    needs_server: bool = False
    only_grown: bool = False


MEASUREMENTS: Mapping[str, Group] = MappingProxyType(
    {
        "engine": Group("the engine alone, and stock arq's", measure_engine, apis=0, workers=0),
        "claims": Group("claims among many jobs, and alone", measure_claims, apis=0, workers=0),
        "accept": Group("accepting over HTTP, and draining what was accepted", measure_accept, workers=0),
        "two": Group("accepting with two API processes", measure_two_apis, apis=2, workers=0),
        "end": Group("end to end", measure_end_to_end),
        "beside": Group("end to end, in turns with SQLite", measure_beside, needs_server=True),
        "scale": Group("one API and one worker, in turns with four of each", measure_scale, needs_server=True),
        "fleet": Group("a fleet of workers with slow tasks", measure_fleet, workers=WORKERS),
        "due": Group("scheduled tasks", measure_due),
        "idle": Group("one task at a time, and none", measure_idle),
        "retry": Group("retries", measure_retry),
        "list": Group("lists", measure_lists),
        "backlog": Group("memory, with a backlog", measure_backlog, apis=0, workers=0),
        "limits": Group("with tasks that wait for a limit, in turns with none", measure_limits, apis=0, workers=0),
        "held": Group("with tasks of a held account, in turns with none", measure_held, apis=0, workers=0),
        "start": Group("starts", measure_start, apis=0, workers=0),
        "grown": Group("end to end, in turns with an empty history", measure_grown, only_grown=True),
    }
)
"""In the order they run."""


async def run_bench(
    plan: Plan, folder: Path, say: Say, *, only: Collection[str] = (), growth: int = 0, server: str | None = None
) -> Report:
    """Make the measurements, each on a fresh stack below `folder`.

    Args:
        say: Called with each step's description.
        only: The groups to measure; empty means all.
        growth: Rows of history with which some groups are measured again; 0 measures none again.
        server: Where each stack gets a database of its own, such as a PostgreSQL server; None is an SQLite file.

    Raises:
        WorkIncomplete: A task was lost, repeated, or answered wrongly; no rates are reported.
        ProgramFailed: A helper program of the bench failed.
    """
    small, large = Results(), Results()
    chosen = [name for name in GROUPS if (not only or name in only) and (server or not MEASUREMENTS[name].needs_server)]
    bench = _Bench(plan, folder, say, server)
    for name in chosen:
        if not MEASUREMENTS[name].only_grown:
            await bench.run(name, small)
    repeated = [name for name in chosen if name in GROWING] if growth else []
    if repeated:
        await bench.run_grown(repeated, large, growth)
    return Report(
        machine=describe_machine(folder),
        versions=bench.versions,
        plan=plan,
        metrics=measured(small),
        tasks_checked=bench.tasks_checked,
        growth=grown(growth, small, large) if repeated else None,
    )


class _Bench:
    """One run of the bench."""

    def __init__(self, plan: Plan, folder: Path, say: Say, server: str | None) -> None:
        self._server = server
        self._plan = plan
        self._folder = folder
        self._say = say
        self.versions: Mapping[str, str] = {}
        self.tasks_checked = 0

    async def run(self, name: str, results: Results) -> None:
        """Make one measurement on its own stack, and remove the stack's files."""
        self._say(f"{MEASUREMENTS[name].title} ...")
        await self._measure(name, results, None)

    async def run_grown(self, names: Sequence[str], results: Results, rows: int) -> None:
        """Measure with a large history: each group on its own stack, all on one file."""
        with new_database(self._server, self._folder) as database:
            store = measured_store(database)
            await asyncio.to_thread(store.fill_history, rows, self._say)
            for name in names:
                self._say(f"{MEASUREMENTS[name].title}, with {rows:,} rows of history ...")
                store.leave_nothing_to_do()
                await self._measure(name, results, database)

    async def _measure(self, name: str, results: Results, database: str | None) -> None:
        group = MEASUREMENTS[name]
        with ExitStack() as cleanup:
            made = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self._folder)))
            database = database or cleanup.enter_context(new_database(self._server, made))
            stack = BenchStack(made, database, self._server)
            async with stack.running(apis=group.apis, workers=group.workers):
                self.versions = self.versions or await describe_versions(stack.store, stack.queue)
                await group.measure(stack, self._plan, results)
                await stack.stop_workers()
                stack.check_calls()
            self.tasks_checked += stack.expected_calls + stack.checked_beside
