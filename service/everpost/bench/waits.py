"""Waits: on an idle stack, for retries, for lists, for a start."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from everpost.bench.checks import WorkIncomplete, check_answers, wait_for_ends
from everpost.bench.cost import cpu_s
from everpost.bench.load import LoadReport, LoadSpec, run_load
from everpost.bench.one_by_one import OneByOneSpec, run_one_by_one
from everpost.bench.plan import Plan
from everpost.bench.samples import Results, percentile
from everpost.bench.stack import REFUSING, BenchStack
from everpost.bench.throughput import check_run, submit_and_wait
from everpost.bench.traffic import TASK, batch_retry_request, get_request, publish_request, retry_requests
from everpost.clock import system_clock
from everpost.settings import Settings
from everpost.store.measured import Look

OK = b"HTTP/1.1 200"
NEW_ID = b'"new_task_id":"'
LOOK_EVERY_S = 0.003
PATIENCE_S = 120.0


async def measure_idle(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure tasks one after the other on an idle stack, and then the cost of an idle worker."""
    for number in plan.rounds:
        count = plan.one_by_one
        spec = OneByOneSpec(
            address=stack.addresses[0], requests=[publish_request()], count=count, database=str(stack.database)
        )
        report = await run_one_by_one(spec)
        check_run(stack, report.ids)
        whole_s = [sum(both) for both in zip(report.answered_s, report.recorded_s, strict=True)]
        idle = await _idle_percent(stack, plan.idle_s) if number else None
        if number:
            results.add(
                recorded_p50=1_000 * percentile(report.recorded_s, 50),
                recorded_p99=1_000 * percentile(report.recorded_s, 99),
                whole_p50=1_000 * percentile(whole_s, 50),
                whole_p99=1_000 * percentile(whole_s, 99),
                idle_worker=idle,
            )


async def _idle_percent(stack: BenchStack, seconds: float) -> float | None:
    """The percentage of one core."""
    pid = stack.workers[0].child.pid
    await asyncio.sleep(LOOK_EVERY_S)
    before, before_s = cpu_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    after, after_s = cpu_s(pid), time.monotonic()
    return None if before is None or after is None else 100 * (after - before) / (after_s - before_s)


async def measure_retry(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure retries of failed tasks: single ones from either store, one after the other, and many by one filter."""
    for number in plan.rounds:
        for source in ("redis", "sqlite"):
            answered_s = await _retry_on_idle_stack(stack, plan, source)
            waits_s = await _retry_in_a_row(stack, plan, source)
            if number:
                results.add(
                    **{
                        f"retry_{source}_p50": 1_000 * percentile(answered_s, 50),
                        f"retry_{source}_p99": 1_000 * percentile(answered_s, 99),
                        f"retry_{source}_row_p50": 1_000 * percentile(waits_s, 50),
                    }
                )
        rate = await _retry_batch(stack, plan, f"batch-{time.monotonic_ns()}")
        if number:
            results.add(batch_retry=rate)


async def _retry_on_idle_stack(stack: BenchStack, plan: Plan, source: str) -> Sequence[float]:
    """Retry each task after the previous one has run and is recorded; return the seconds until the answers."""
    failed = await _fail_for_retries(stack, plan, source)
    spec = OneByOneSpec(
        address=stack.addresses[0],
        requests=retry_requests(failed),
        count=len(failed),
        database=str(stack.database),
        expect=_retried_from(source),
        id_after=NEW_ID,
    )
    report = await run_one_by_one(spec)
    check_run(stack, report.ids, "failed")
    return report.answered_s


async def _retry_in_a_row(stack: BenchStack, plan: Plan, source: str) -> Sequence[float]:
    """Retry each task after the previous one is answered, while that one's task runs."""
    failed = await _fail_for_retries(stack, plan, source)
    with stack.store.look() as look:
        wanted = look.count_ended(REFUSING, "failed") + len(failed)
        report = await ask(stack, retry_requests(failed), len(failed), _retried_from(source), id_after=NEW_ID)
        await wait_for_ends(look, REFUSING, "failed", wanted)
    check_run(stack, report.ids, "failed")
    return report.waits_s


async def _fail_for_retries(stack: BenchStack, plan: Plan, source: str) -> Sequence[str]:
    """Make tasks that have just failed, or that failed so long ago that only SQLite has them."""
    if source == "redis":
        return await _fail(stack, plan, plan.retries)
    data = msgspec.json.encode({"platform": REFUSING, **TASK})
    ended_ms = system_clock() - 2_000 * Settings().result_ttl
    return await asyncio.to_thread(stack.store.add_failed, plan.retries, data, ended_ms)


def _retried_from(source: str) -> Sequence[bytes]:
    return [OK, f'"source":"{source}"'.encode()]


async def _retry_batch(stack: BenchStack, plan: Plan, account_id: str) -> float:
    """Tasks a second, from the request to the end of the operation."""
    failed = await _fail(stack, plan, plan.batch_retries, account_id=account_id)
    await stack.stop_workers()
    stack.check_calls()
    started_s = time.monotonic()
    request = batch_retry_request(status="failed", account_id=account_id)
    report = await ask(stack, [request], 1, [b'"success":true'], id_after=b'"operation_id":"')
    with stack.store.look() as look:
        await _wait_for_operation(look, report.ids[0])
        took_s = time.monotonic() - started_s
        found = look.retries_of(report.ids[0])
        if found != (len(failed), len(failed)):
            raise WorkIncomplete(f"{len(failed)} tasks were to be retried; there are {found} of them")
        wanted = look.count_ended(REFUSING, "failed") + len(failed)
        await stack.start_worker()
        await wait_for_ends(look, REFUSING, "failed", wanted)
    stack.expected_calls += len(failed)
    return len(failed) / took_s


async def _wait_for_operation(look: Look, operation_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look.is_done(operation_id):
        if time.monotonic() > deadline:
            raise WorkIncomplete(f"the batch retry {operation_id} did not end")
        await asyncio.sleep(LOOK_EVERY_S)


async def _fail(stack: BenchStack, plan: Plan, count: int, **fields: str) -> Sequence[str]:
    """Make this many failed tasks, wait until each is recorded, and return their ids."""
    report, _ = await submit_and_wait(stack, plan, count, REFUSING, "failed", **fields)
    return report.ids


async def measure_lists(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure pages of the history, one request at a time."""
    ids = await _fail(stack, plan, plan.requests, account_id="lists")
    filtered = f"/tasks?limit=50&status=failed&platform={REFUSING}&account_id=lists"
    wanted = {
        "list_p99": [get_request("/tasks?limit=50")],
        "filter_p99": [get_request(filtered)],
        "find_p99": [get_request(f"/tasks/{task_id}") for task_id in ids],
    }
    for number in plan.rounds:
        for name, requests in wanted.items():
            report = await ask(stack, requests, plan.requests, [OK])
            if number:
                results.add(**{name: 1_000 * percentile(report.waits_s, 99)})


async def ask(
    stack: BenchStack, requests: Sequence[bytes], count: int, expect: Sequence[bytes], *, id_after: bytes = b""
) -> LoadReport:
    """Send requests one at a time; every answer must contain `expect`."""
    spec = LoadSpec(
        addresses=stack.addresses[:1], requests=requests, count=count, connections=1, expect=expect, id_after=id_after
    )
    report = await run_load(spec)
    check_answers(report, count)
    return report


async def measure_start(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure the time from the start of a process until it is ready, on an existing file."""
    for number in plan.rounds:
        api, worker = await stack.start_api(), await stack.start_worker()
        await stack.stop_apis()
        await stack.stop_workers()
        stack.check_calls()
        if number:
            results.add(start_api=api.took_s, start_worker=worker.took_s)
