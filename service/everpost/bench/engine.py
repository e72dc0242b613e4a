"""The engine without SQLite: its rate beside stock arq's, and the cost of a claim while many other jobs wait."""

from typing import Literal
from uuid import uuid4

import msgspec

from everpost.bench.checks import WorkIncomplete
from everpost.bench.plan import Plan
from everpost.bench.programs import run_program
from everpost.bench.samples import Results
from everpost.bench.stack import BenchStack
from everpost.queue.codec import serialize

Engine = Literal["arq", "batch"]

DAY_MS = 86_400_000
JOB = serialize({"t": None, "f": "nothing", "a": (), "k": {}, "et": 0})


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The question for `python -m everpost_workers.engine_bench`, which describes it."""

    engine: Engine
    redis: str
    queue: str
    jobs: int
    waiting: int = 0


class EngineReport(msgspec.Struct, frozen=True):
    """Its answer."""

    took_s: float
    cpu_s: float
    claims_s: float | None
    lost: int
    repeated: int
    unfinished: int


async def measure_engine(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure the engine, and stock arq beside it."""
    for number in plan.rounds:
        seen = await _rates(stack, "batch", plan.engine_jobs) | await _rates(stack, "arq", plan.arq_jobs)
        if number:
            results.add(**seen)


async def _rates(stack: BenchStack, engine: Engine, jobs: int) -> dict[str, float | None]:
    report = await run_engine(stack, engine, jobs)
    await stack.queue.flush()
    name = "engine" if engine == "batch" else "engine_arq"
    return {name: jobs / report.took_s, f"{name}_cpu": 1_000 * report.cpu_s / jobs}


async def measure_claims(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure claims among many due and scheduled jobs, and on a separate server without other jobs.

    The two alternate, so that a machine that slows down affects both. Every run takes the oldest jobs, and adds as many
    at the end.
    """
    queue = f"bench:{uuid4().hex}"
    for jobs, due_in_ms in ((plan.due, 0), (plan.scheduled, DAY_MS)):
        await stack.queue.fill(queue, [uuid4().hex for _ in range(jobs)], JOB, due_in_ms)
    await stack.queue.wait_for_rewrite()
    async with BenchStack(stack.folder / "alone").running(apis=0, workers=0) as empty:
        for number in plan.rounds:
            alone = await run_engine(empty, "batch", plan.claim_jobs)
            among_many = await run_engine(stack, "batch", plan.claim_jobs, queue, waiting=plan.due + plan.scheduled)
            if number:
                results.add(claim=_claim_us(alone, plan), claim_deep=_claim_us(among_many, plan))


def _claim_us(report: EngineReport, plan: Plan) -> float | None:
    return None if report.claims_s is None else 1e6 * report.claims_s / plan.claim_jobs


async def run_engine(
    stack: BenchStack, engine: Engine, jobs: int, queue: str | None = None, *, waiting: int = 0
) -> EngineReport:
    """Let an engine run `jobs` jobs, after the `waiting` jobs that are already in the queue.

    Raises:
        WorkIncomplete: A job did not run, ran twice, or did not end.
    """
    queue = queue or f"bench:{uuid4().hex}"
    spec = EngineSpec(engine=engine, redis=stack.valkey.address, queue=queue, jobs=jobs, waiting=waiting)
    report = await run_program("everpost_workers.engine_bench", spec, EngineReport)
    if report.lost or report.repeated or report.unfinished:
        raise WorkIncomplete(
            f"of {jobs} jobs of the engine {engine!r}, {report.lost} never ran, {report.repeated} ran again, and "
            f"{report.unfinished} did not end"
        )
    return report
