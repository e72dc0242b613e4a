"""The same load on a peer as on Everpost: end to end, one at a time, retries; every task counted in its table."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from everpost.bench.checks import PATIENCE_S, WorkIncomplete, check_answers
from everpost.bench.load import LoadReport, LoadSpec, run_load
from everpost.bench.one_by_one import OneByOneReport, OneByOneSpec, run_one_by_one
from everpost.bench.plan import Plan, resized
from everpost.bench.samples import Results, percentile
from everpost.bench.stack import HOST
from everpost.bench.throughput import cpu_ms, warm_up
from everpost.bench.traffic import publish_request, retry_requests
from peers.histories import history_at
from peers.stacks import Peer, PeerStack, Server

LOOK_EVERY_S = 0.003
SENDER = str(Path(__file__).with_name("sender.py"))


async def measure_peer(
    peer: Peer, programs: Path, folder: Path, plan: Plan, say: Callable[[str], None], server: Server | None = None
) -> Results:
    """Everything the table of peers has of one of them.

    Args:
        server: Where it gets a database of its own; None is an SQLite file.

    Raises:
        WorkIncomplete: A task was lost, repeated, or not answered as it should be.
    """
    results = Results()
    async with PeerStack(peer, programs, folder, server).running() as stack:
        bench = PeerBench(stack, plan_for(peer, plan))
        for number in range(plan.runs + 1):
            say(f"{peer.title}: end to end, {number} of {plan.runs} runs done ...")
            await bench.end_to_end(results if number else Results())
        api_mb, worker_mb = stack.most_resident_mb()
        results.add(rss_api=api_mb, rss_worker=worker_mb)
        for number in range(plan.runs + 1):
            say(f"{peer.title}: one at a time, {number} of {plan.runs} runs done ...")
            await bench.one_by_one(results if number else Results())
            await bench.retry(results if number else Results())
    return results


def plan_for(peer: Peer, plan: Plan) -> Plan:
    """The plan with fewer tasks where the peer would take too long."""
    tasks = max(plan.connections, round(plan.tasks * peer.share))
    return resized(plan, tasks=tasks, one_by_one=min(plan.one_by_one, peer.one_by_one or plan.one_by_one))


class PeerBench:
    """The load, on a peer that runs."""

    def __init__(self, stack: PeerStack, plan: Plan) -> None:
        self._stack = stack
        self._plan = plan
        self._recorded = 0
        self._is_warm = False

    async def end_to_end(self, results: Results) -> None:
        count = self._plan.tasks if self._is_warm else warm_up(self._plan)
        self._is_warm = True
        before = self._stack.cost()
        report = await self._submit(count)
        ended_s = await self._wait_for(count)
        after = self._stack.cost()
        took_s = max(ended_s, report.finished_s) - report.started_s
        results.add(end_to_end=count / took_s, end_to_end_submit=count / report.took_s)
        results.add(**cpu_ms(before, after, count))

    async def one_by_one(self, results: Results) -> None:
        report = await self._send_one_by_one([publish_request()], self._plan.one_by_one)
        whole_s = [sum(both) for both in zip(report.answered_s, report.recorded_s, strict=True)]
        results.add(
            recorded_p50=1_000 * percentile(report.recorded_s, 50),
            recorded_p99=1_000 * percentile(report.recorded_s, 99),
            whole_p50=1_000 * percentile(whole_s, 50),
            whole_p99=1_000 * percentile(whole_s, 99),
        )

    async def retry(self, results: Results) -> None:
        count = min(self._plan.retries, self._plan.one_by_one)
        ids = (await self._submit(count)).ids
        await self._wait_for(count)
        report = await self._send_one_by_one(
            retry_requests(ids), count, expect=b"HTTP/1.1 200", id_after=b'"new_task_id":"'
        )
        results.add(retry_redis_p50=1_000 * percentile(report.answered_s, 50))

    async def _send_one_by_one(
        self,
        requests: Sequence[bytes],
        count: int,
        *,
        expect: bytes = b"HTTP/1.1 202",
        id_after: bytes = b'"task_id":"',
    ) -> OneByOneReport:
        spec = OneByOneSpec(
            address=(HOST, self._stack.port),
            requests=requests,
            count=count,
            database=self._stack.database,
            expect=[expect],
            id_after=id_after,
            id_digits=self._stack.peer.id_digits,
        )
        report = await run_one_by_one(spec, SENDER)
        await self._wait_for(count)
        return report

    async def _submit(self, count: int) -> LoadReport:
        spec = LoadSpec(
            addresses=[(HOST, self._stack.port)],
            requests=[publish_request()],
            count=count,
            connections=min(count, self._plan.connections),
            id_digits=self._stack.peer.id_digits,
        )
        report = await run_load(spec)
        check_answers(report, count)
        return report

    async def _wait_for(self, more: int) -> float:
        """Wait until so many more rows are there, each of another task; when it was, on the monotonic clock."""
        self._recorded += more
        with history_at(self._stack.database) as history:
            deadline = time.monotonic() + PATIENCE_S + more / 20
            while not history.has(self._recorded) and time.monotonic() < deadline:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(LOOK_EVERY_S)
            ended_s = time.monotonic()
            rows, tasks, succeeded = history.complete()
        if not rows == tasks == succeeded == self._recorded:
            raise WorkIncomplete(
                f"{self._stack.peer.title} recorded {succeeded} of {self._recorded} tasks, in {rows} rows of {tasks}"
            )
        return ended_s
