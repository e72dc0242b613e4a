"""How soon after its time a scheduled task starts, on an idle stack."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from everpost.bench.checks import WorkIncomplete, wait_for_ends
from everpost.bench.plan import Plan
from everpost.bench.samples import Results, percentile
from everpost.bench.stack import ACCEPTING, BenchStack
from everpost.bench.throughput import check_run
from everpost.bench.traffic import TASK
from everpost.clock import from_text, system_clock, to_text

AHEAD_MS = 1_500  # the first task is due so long after it was posted
APART_MS = 25


async def measure_due(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Post tasks that are due one after the other, then at once, and measure from each one's time to its start."""
    for number in plan.rounds:
        waits_ms = await _waits_ms(stack, plan.due_times, APART_MS)
        together_ms = await _waits_ms(stack, plan.due_times, 0)
        if number:
            results.add(
                due_p50=percentile(waits_ms, 50),
                due_p99=percentile(waits_ms, 99),
                due_together_p99=percentile(together_ms, 99),
            )


async def _waits_ms(stack: BenchStack, count: int, apart_ms: int) -> Sequence[float]:
    first_ms = system_clock() + AHEAD_MS
    due_ms = [first_ms + apart_ms * number for number in range(count)]
    tasks = [{"platform": ACCEPTING, **TASK, "schedule_time": to_text(time_ms)} for time_ms in due_ms]
    host, port = stack.addresses[0]
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
        with stack.store.look() as look:
            wanted = look.count_ended(ACCEPTING, "success") + count
            answer = (await client.post("/api/v1/publish/batch", json=tasks)).json()
            ids = [str(result["task_id"]) for result in answer["results"]]
            await asyncio.sleep((due_ms[-1] - system_clock()) / 1000)
            await wait_for_ends(look, ACCEPTING, "success", wanted)
        check_run(stack, ids)
        page = (await client.get("/api/v1/tasks", params={"batch_id": answer["batch_id"], "limit": count})).json()
    return _waits_of(dict(zip(ids, due_ms, strict=True)), page["data"])


def _waits_of(due_ms: dict[str, int], rows: Sequence[dict[str, Any]]) -> list[float]:
    waits_ms = [(from_text(row["started_at"]) or 0) - due_ms[row["task_id"]] for row in rows]
    if len(waits_ms) != len(due_ms) or min(waits_ms) < 0:
        raise WorkIncomplete(f"{len(due_ms)} tasks were due, and {len(waits_ms)} started; one of them too early")
    return [float(wait_ms) for wait_ms in waits_ms]
