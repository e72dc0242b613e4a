"""Routes that need Redis while it is down or frozen: an answer from SQLite or an honest 503, soon, and never a hang."""

import asyncio
import os
import signal
from collections.abc import Awaitable

import httpx
import pytest

from everpost.publishing import InvalidError
from everpost.queue.enqueuer import PATIENCE_S
from everpost.testing import Stack, eventually, everpost_stack
from fair_time import fair_s

SOON_S = 2.0
AT_ONCE_S = 0.5  # once it is known; generous, for a busy machine


async def take_away(stack: Stack, how: str) -> None:
    """Kill Valkey, or freeze it until `give_back`."""
    assert stack.valkey.child is not None
    if how == "down":
        await stack.valkey.child.stop()
    else:
        os.kill(stack.valkey.child.pid, signal.SIGSTOP)


async def give_back(stack: Stack, how: str) -> None:
    assert stack.valkey.child is not None
    if how == "down":
        await stack.valkey.start()
    else:
        os.kill(stack.valkey.child.pid, signal.SIGCONT)


async def timed(asking: Awaitable[httpx.Response]) -> tuple[httpx.Response, float]:
    began = fair_s()
    return await asking, fair_s() - began


@pytest.mark.parametrize("how", ["down", "frozen"])
async def test_every_route_answers_without_redis(how: str) -> None:
    async with everpost_stack() as stack:
        stack.publisher.fail_next(InvalidError("no"))
        failed = await stack.publish()
        await stack.wait_until_ended(failed)
        await stack.stop_workers()
        first, second, third = [await stack.publish() for _ in range(3)]
        tasks = "/api/v1/tasks"
        wanted: dict[tuple[str, str, str | None], int] = {
            ("GET", tasks, None): 200,
            ("GET", f"{tasks}/{first}", None): 200,
            ("GET", f"{tasks}/{failed}", None): 200,
            ("GET", f"{tasks}/stats", None): 200,
            ("GET", f"{tasks}/health", None): 200,
            ("GET", "/health/live", None): 200,
            ("GET", "/health/ready", None): 503,
            ("GET", "/metrics", None): 200,
            ("POST", f"{tasks}/retry/{first}", None): 503,
            ("POST", f"{tasks}/cancel/{second}", None): 503,
            ("POST", f"{tasks}/retry/{failed}", None): 200,
            ("POST", f"{tasks}/batch/retry", third): 200,
            ("POST", f"{tasks}/batch/cancel", third): 200,
        }

        async def ask(method: str, path: str, task_id: str | None) -> httpx.Response:
            return await stack.client.request(method, path, json={"task_ids": [task_id]} if task_id else None)

        await take_away(stack, how)
        try:
            for limit_s in (SOON_S, AT_ONCE_S):  # before and after the outage is known
                answers = await asyncio.gather(*(timed(ask(*request)) for request in wanted))
                for (request, status), (answer, took_s) in zip(wanted.items(), answers, strict=True):
                    assert answer.status_code == status, (request, answer.text)
                    assert took_s < limit_s, (request, took_s)
                    if status == 503 and request[1] != "/health/ready":
                        assert answer.json()["code"] == "queue_unreachable"
                        assert answer.headers["retry-after"]
                    if "batch" in request[1]:
                        assert "queue_unreachable" in answer.text
        finally:
            await give_back(stack, how)
        await stack.start_worker()
        await stack.drain()
        assert sorted(job.task_id for job in stack.publisher.published)[:3] == sorted([first, second, third])
        assert len(stack.publisher.published) == 4


async def test_tasks_during_a_late_enqueue_follow_it_without_the_relay() -> None:
    async with everpost_stack(workers=0) as stack:
        await stack.publish()
        await take_away(stack, "frozen")
        began = fair_s()
        await asyncio.gather(*(stack.publish(title=str(number)) for number in range(50)))
        await stack.publish()
        took_s = fair_s() - began
        await give_back(stack, "frozen")
        assert took_s < SOON_S / 2 + PATIENCE_S

        async def are_queued() -> bool:
            return bool(await stack.queue.redis.zcard("arq:queue") == 52)

        await eventually(are_queued, what="52 jobs in the queue, with no worker there")
