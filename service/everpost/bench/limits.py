"""Tasks of other accounts while very many of one limited account wait: in turns with a stack where none waits."""

import asyncio
import time

import msgspec

from everpost.bench.checks import WorkIncomplete
from everpost.bench.one_by_one import OneByOneSpec, run_one_by_one
from everpost.bench.pairs import in_turns
from everpost.bench.plan import Plan
from everpost.bench.samples import Results, percentile
from everpost.bench.stack import LIMITED, BenchStack
from everpost.bench.throughput import check_run
from everpost.bench.traffic import TASK, publish_request
from everpost.queue.codec import job_of
from everpost.queue.keys import queue_name
from everpost.task.model import DEFAULT_PRIORITY, Task

LOOK_EVERY_S = 0.05
PATIENCE_S = 600.0


async def measure_limits(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure the stack, whose lane is full, and one whose lanes are empty."""
    took_s = await _fill_lane(stack, plan.limited)
    results.add(limits_parked=plan.limited / took_s)
    async with stack.beside("empty", server=stack.server) as empty:
        async for many, none in in_turns(stack, empty, plan):
            results.add(limits_many=many.rate, limits_none=none.rate, limits=many.rate / none.rate)
            results.add(limits_many_cpu=many.cpu["cpu"], limits_none_cpu=none.cpu["cpu"])
        for number in range(plan.pairs):
            sides = ((stack, "many"), (empty, "none"))
            for side, name in sides[:: 1 if number % 2 else -1]:
                await _wait_one_by_one(side, name, plan, results)
    await stack.stop_workers()
    _check_lane(stack, plan.limited)


async def _fill_lane(stack: BenchStack, tasks: int) -> float:
    """Let so many due tasks of one account meet their limit; the seconds until they wait in their lane."""
    data = msgspec.json.encode({"platform": LIMITED, **TASK})
    ids = await asyncio.to_thread(stack.store.fill_ledger, tasks, data, DEFAULT_PRIORITY)
    task = Task(task_id="", task_data=data, platform=LIMITED, account_id="", created_at_ms=0)
    await stack.queue.fill(queue_name(DEFAULT_PRIORITY), ids, job_of(task, 0))
    await stack.queue.wait_for_rewrite()
    await stack.start_api()
    started_s = time.monotonic()
    await stack.start_worker()
    while await stack.queue.count_queued():
        if time.monotonic() - started_s > PATIENCE_S:
            raise WorkIncomplete(f"of {tasks} limited tasks only {await stack.queue.count_parked()} wait in their lane")
        await asyncio.sleep(LOOK_EVERY_S)
    return time.monotonic() - started_s


async def _wait_one_by_one(stack: BenchStack, name: str, plan: Plan, results: Results) -> None:
    spec = OneByOneSpec(
        address=stack.addresses[0],
        requests=[publish_request()],
        count=plan.one_by_one,
        database=str(stack.database),
    )
    report = await run_one_by_one(spec)
    check_run(stack, report.ids)
    for percent in (50, 99):
        results.add(**{f"limits_{name}_p{percent}": 1_000 * percentile(report.recorded_s, percent)})


def _check_lane(stack: BenchStack, tasks: int) -> None:
    """Check that the limited tasks either ran and were recorded, or still wait."""
    with stack.store.look() as look:
        done, left = look.count_ended(LIMITED, "success"), look.count_waiting(LIMITED)
    if left != tasks - done:
        raise WorkIncomplete(f"of {tasks} limited tasks {done} were recorded, and {left} are left")
    stack.expected_calls += done
