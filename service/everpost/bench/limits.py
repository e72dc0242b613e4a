"""Tasks of other accounts while very many of one account wait: in turns with a stack where none waits."""

import asyncio
import time

import msgspec

from everpost.bench.answers import http_request
from everpost.bench.checks import WorkIncomplete, wait_for_ends
from everpost.bench.one_by_one import OneByOneSpec, run_one_by_one
from everpost.bench.pairs import in_turns
from everpost.bench.plan import Plan
from everpost.bench.samples import Results, percentile
from everpost.bench.stack import HELD, LIMITED, BenchStack
from everpost.bench.throughput import check_run
from everpost.bench.traffic import TASK, publish_request
from everpost.bench.waits import ask
from everpost.queue.codec import job_of
from everpost.queue.keys import queue_name
from everpost.task.model import DEFAULT_PRIORITY, Task

ACCOUNTS = "/api/v1/accounts"
HELD_ACCOUNT = f"{ACCOUNTS}/{HELD}/{TASK['account_id']}"
LOOK_EVERY_S = 0.05
PATIENCE_S = 600.0


async def measure_limits(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure while the tasks of an account with a limit wait, of which some run meanwhile."""
    await stack.start_api()
    await _measure(stack, plan, results, "limits", LIMITED)
    await stack.stop_workers()
    _check_lane(stack, plan.limited)


async def measure_held(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure while the tasks of a paused account wait; then resume it, and measure how fast they run."""
    await stack.start_api()
    account = msgspec.json.encode({"platform": HELD, "account_id": TASK["account_id"]})
    await _post(stack, ACCOUNTS, account)
    await _post(stack, f"{HELD_ACCOUNT}/pause")
    await _measure(stack, plan, results, "held", HELD)
    with stack.store.look() as look:
        if ran := look.count_ended(HELD, "success"):
            raise WorkIncomplete(f"{ran} tasks of the held account ran")
        started_s = time.monotonic()
        await _post(stack, f"{HELD_ACCOUNT}/resume")
        await wait_for_ends(look, HELD, "success", plan.limited)
        results.add(held_resumed=plan.limited / (time.monotonic() - started_s))
    stack.expected_calls += plan.limited


async def _measure(stack: BenchStack, plan: Plan, results: Results, group: str, platform: str) -> None:
    """Measure the stack, whose lane is full, and one whose lanes are empty."""
    took_s = await _fill_lane(stack, plan.limited, platform)
    results.add(**{f"{group}_parked": plan.limited / took_s})
    async with stack.beside("empty", server=stack.server) as empty:
        async for many, none in in_turns(stack, empty, plan):
            results.add(**{f"{group}_many": many.rate, f"{group}_none": none.rate, group: many.rate / none.rate})
            results.add(**{f"{group}_many_cpu": many.cpu["cpu"], f"{group}_none_cpu": none.cpu["cpu"]})
        for number in range(plan.pairs):
            sides = ((stack, f"{group}_many"), (empty, f"{group}_none"))
            for side, name in sides[:: 1 if number % 2 else -1]:
                await _wait_one_by_one(side, name, plan, results)


async def _post(stack: BenchStack, path: str, body: bytes = b"") -> None:
    await ask(stack, [http_request("POST", path, body)], 1, [b'"success":true'])


async def _fill_lane(stack: BenchStack, tasks: int, platform: str) -> float:
    """Let so many due tasks of one account be claimed; the seconds until they wait in their lane."""
    data = msgspec.json.encode({"platform": platform, **TASK})
    ids = await asyncio.to_thread(stack.store.fill_ledger, tasks, data, DEFAULT_PRIORITY)
    task = Task(task_id="", task_data=data, platform=platform, account_id="", created_at_ms=0)
    await stack.queue.fill(queue_name(DEFAULT_PRIORITY), ids, job_of(task, 0))
    await stack.queue.wait_for_rewrite()
    started_s = time.monotonic()
    await stack.start_worker()
    while await stack.queue.count_queued():
        if time.monotonic() - started_s > PATIENCE_S:
            raise WorkIncomplete(f"of {tasks} tasks only {await stack.queue.count_parked()} wait in their lane")
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
        results.add(**{f"{name}_p{percent}": 1_000 * percentile(report.recorded_s, percent)})


def _check_lane(stack: BenchStack, tasks: int) -> None:
    """Check that the limited tasks either ran and were recorded, or still wait."""
    with stack.store.look() as look:
        done, left = look.count_ended(LIMITED, "success"), look.count_waiting(LIMITED)
    if left != tasks - done:
        raise WorkIncomplete(f"of {tasks} limited tasks {done} were recorded, and {left} are left")
    stack.expected_calls += done
