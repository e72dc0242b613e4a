"""Rates: accepting, draining, end to end."""

import time
from collections.abc import Mapping, Sequence

import msgspec

from everpost.bench.checks import check_answers, check_queued, check_recorded, wait_for_ends
from everpost.bench.load import LoadReport, LoadSpec, run_load
from everpost.bench.plan import Plan
from everpost.bench.samples import Results, percentile
from everpost.bench.stack import ACCEPTING, BenchStack, Cost
from everpost.bench.traffic import publish_request
from everpost.store.measured import Look

NOT_MEASURED = 0.1  # this share of a drain is not measured, because the worker is starting
WARM_UP = 0.1  # size of the warm-up run, as a share of a run


async def measure_accept(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Accept without a worker; then let a worker drain the accepted tasks."""
    for number in plan.rounds:
        count = plan.tasks if number else warm_up(plan)
        report = await submit(stack, plan, count)
        check_queued(stack.store, report.ids)
        drained = await drain(stack, report.ids)
        if number:
            results.add(
                accept=count / report.took_s,
                accept_p50=1_000 * percentile(report.waits_s, 50),
                accept_p99=1_000 * percentile(report.waits_s, 99),
                drain=drained,
            )


async def measure_two_apis(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Accept with two processes on one file, without a worker."""
    for number in plan.rounds:
        count = plan.tasks if number else warm_up(plan)
        report = await submit(stack, plan, count)
        check_queued(stack.store, report.ids)
        if number:
            results.add(accept_two=count / report.took_s, accept_two_worst=1_000 * max(report.waits_s))


async def measure_end_to_end(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Submit, run and record, all at the same time."""
    for number in plan.rounds:
        slice_ = await run_slice(stack, plan, plan.tasks if number else warm_up(plan))
        if number:
            results.add(end_to_end=slice_.rate, end_to_end_submit=slice_.submit_rate, **slice_.cpu)
    api_mb, worker_mb = stack.most_resident_mb()
    results.add(rss_api=api_mb, rss_worker=worker_mb)


class Slice(msgspec.Struct, frozen=True):
    """One run end to end: tasks and answers a second, and CPU a task as `cpu_ms` names it."""

    rate: float
    submit_rate: float
    cpu: Mapping[str, float | None]


async def run_slice(stack: BenchStack, plan: Plan, count: int) -> Slice:
    """Submit, run and record `count` tasks; the checks afterwards are not part of what is measured."""
    with stack.store.look() as look:
        before = stack.cost()
        report, ended_s = await _submit_and_look(stack, plan, count, look, ACCEPTING, "success")
        after = stack.cost()
    check_run(stack, report.ids)
    took_s = max(ended_s, report.finished_s) - report.started_s
    return Slice(count / took_s, count / report.took_s, cpu_ms(before, after, count))


async def submit_and_wait(
    stack: BenchStack, plan: Plan, count: int, platform: str = ACCEPTING, status: str = "success", **fields: str
) -> tuple[LoadReport, float]:
    """Submit tasks with these fields, wait until each has ended with `status`, and return the time of the last end.

    Raises:
        WorkIncomplete: One did not end, ended otherwise, or had more than one attempt.
    """
    with stack.store.look() as look:
        report, ended_s = await _submit_and_look(stack, plan, count, look, platform, status, **fields)
    check_run(stack, report.ids, status)
    return report, ended_s


async def _submit_and_look(
    stack: BenchStack, plan: Plan, count: int, look: Look, platform: str, status: str, **fields: str
) -> tuple[LoadReport, float]:
    wanted = look.count_ended(platform, status) + count
    report = await submit(stack, plan, count, publish_request(platform, **fields))
    return report, (await wait_for_ends(look, platform, status, wanted))[-1][0]


async def submit(stack: BenchStack, plan: Plan, count: int, request: bytes | None = None) -> LoadReport:
    """Send `count` tasks over all connections; each must be answered 202 with its own id."""
    spec = LoadSpec(
        addresses=stack.addresses,
        requests=[request or publish_request()],
        count=count,
        connections=min(plan.connections, count),
    )
    report = await run_load(spec)
    check_answers(report, count)
    return report


async def drain(stack: BenchStack, ids: Sequence[str]) -> float:
    """Start a worker, let it run the queued tasks, and return the tasks a second after its start."""
    with stack.store.look() as look:
        had = look.count_ended(ACCEPTING, "success")
        looks = [(time.monotonic(), had)]  # a worker may end a few tasks before the next one starts
        await stack.start_worker()
        looks += await wait_for_ends(look, ACCEPTING, "success", had + len(ids))
    check_run(stack, ids)
    await stack.stop_workers()
    stack.check_calls()
    return drain_rate([(at_s, found - had) for at_s, found in looks])


def drain_rate(seen: Sequence[tuple[float, int]]) -> float:
    """Tasks a second, from the first look that found a tenth of them to the last look, which found all.

    Args:
        seen: Pairs of a time in seconds and the number of recorded tasks: none in the first pair, all in the last.
    """
    end_s, total = seen[-1]
    start_s, first = next(look for look in seen if look[1] >= NOT_MEASURED * total)
    if first == total:  # one look found all: count from the look before
        start_s, first = seen[-2]
    return (total - first) / (end_s - start_s)


def check_run(stack: BenchStack, ids: Sequence[str], status: str = "success") -> None:
    """Check that each task ended with `status` after one attempt.

    Raises:
        WorkIncomplete: One did not.
    """
    check_recorded(stack.store, ids, status)
    stack.expected_calls += len(ids)


def warm_up(plan: Plan) -> int:
    """The number of tasks in the warm-up run, which is thrown away."""
    return max(plan.connections, round(WARM_UP * plan.tasks))


def cpu_ms(before: Cost, after: Cost, count: int) -> dict[str, float | None]:
    """Milliseconds of CPU per task, in total and by kind of process."""

    def each(name: str) -> float | None:
        start, end = getattr(before, name), getattr(after, name)
        return None if start is None or end is None else 1_000 * (end - start) / count

    parts = {f"cpu_{name}": each(name) for name in ("api", "worker", "valkey")}
    known = [value for value in parts.values() if value is not None]
    return {"cpu": sum(known) if len(known) == len(parts) else None, **parts, "cpu_database": each("database")}
