"""Memory of API and worker under load, while a large backlog waits in ledger and queue."""

import asyncio
import time

import msgspec

from everpost.bench.checks import WorkIncomplete
from everpost.bench.plan import Plan
from everpost.bench.samples import Results
from everpost.bench.stack import WAITING, BenchStack
from everpost.bench.throughput import submit_and_wait
from everpost.bench.traffic import TASK
from everpost.queue.codec import job_of
from everpost.queue.keys import queue_name
from everpost.store.measured import Look
from everpost.task.model import PRIORITIES, Task

PRIORITY = PRIORITIES[-1]  # the load's tasks run first
LOOK_EVERY_S = 0.01
PATIENCE_S = 600.0


async def measure_backlog(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Start with an existing backlog, let the relay check all of it, then accept and run other tasks."""
    await _fill(stack, plan.backlog)
    await stack.start_api()
    await stack.start_worker()
    started_s = time.monotonic()
    with stack.store.look() as look:
        await _wait_for_relay(look)
        relayed_s = time.monotonic()
        for _ in range(plan.runs):
            await submit_and_wait(stack, plan, plan.tasks)
        api_mb, worker_mb = stack.most_resident_mb()
        await stack.stop_workers()
        _check_backlog(stack, plan, look)
    results.add(rss_api_backlog=api_mb, rss_worker_backlog=worker_mb, relay_round=relayed_s - started_s)


async def _fill(stack: BenchStack, tasks: int) -> None:
    data = msgspec.json.encode({"platform": WAITING, **TASK})
    ids = await asyncio.to_thread(stack.store.fill_ledger, tasks, data, PRIORITY)
    task = Task(task_id="", task_data=data, platform=WAITING, account_id="", created_at_ms=0, priority=PRIORITY)
    await stack.queue.fill(queue_name(PRIORITY), ids, job_of(task, 0))
    await stack.queue.wait_for_rewrite()


async def _wait_for_relay(look: Look) -> None:
    """Wait until a worker has recorded the Redis it uses: its relay has then checked every task there."""
    deadline = time.monotonic() + PATIENCE_S
    while not look.has_relayed():
        if time.monotonic() > deadline:
            raise WorkIncomplete("the relay has not come to the backlog's end")
        await asyncio.sleep(LOOK_EVERY_S)


def _check_backlog(stack: BenchStack, plan: Plan, look: Look) -> None:
    """Check that the backlog's tasks either ran and were recorded, or still wait."""
    done, left = look.count_ended(WAITING, "success"), look.count_waiting(WAITING)
    if left != plan.backlog - done:
        raise WorkIncomplete(f"of {plan.backlog} waiting tasks {done} were recorded, and {left} are left")
    stack.expected_calls += done
