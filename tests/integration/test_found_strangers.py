"""Jobs of stock arq clients: none harms the others, and none is published twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from arq.connections import ArqRedis

from everpost.clock import system_clock, to_text
from everpost.queue.codec import deserialize, serialize
from everpost.queue.pool import connection_pool
from everpost.store.history import TaskFilter
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

TASK = {"platform": 3, "account_id": "stock", "title": "from arq"}


@asynccontextmanager
async def stock_client(stack: Stack) -> AsyncIterator[ArqRedis]:
    pool = connection_pool(stack.valkey.address)
    client = ArqRedis(pool, job_serializer=serialize, job_deserializer=deserialize)
    yield client
    await client.aclose(close_connection_pool=True)


async def queue_by_hand(stack: Stack, task_id: str, enqueued_at: Any) -> None:
    """A job as a careless client writes it, due at once."""
    job = {"t": None, "f": "publish", "a": (TASK,), "k": {}, "et": enqueued_at}
    await stack.queue.redis.set(f"arq:job:{task_id}", serialize(job))
    await stack.queue.redis.zadd("arq:queue", {task_id: 1})


async def sending(stack: Stack, task_id: str) -> int | None:
    """The attempt whose intent to send is on record."""
    known = (await stack.store.ledger.check_claims({task_id: None})).known
    return known[task_id].sending if known else None


async def test_the_first_attempt_of_a_stock_job_has_its_intent_on_record_before_it_sends() -> None:
    async with everpost_stack(workers=0) as stack, stock_client(stack) as client:
        stack.publisher.hold()
        await client.enqueue_job("publish", TASK, _job_id="stock")
        await stack.start_worker()

        async def has_begun() -> bool:
            return bool(stack.publisher.attempts)

        await eventually(has_begun)
        assert await sending(stack, "stock") == 1
        stack.publisher.release()
        assert (await stack.wait_until_ended("stock"))["status"] == "success"


async def test_a_stock_job_that_waits_is_withdrawn_when_it_is_retried() -> None:
    async with everpost_stack(workers=0) as stack, stock_client(stack) as client:
        await client.enqueue_job("publish", TASK, _job_id="stock")
        answer = await stack.post_retry("stock")
        assert (answer.status_code, answer.json()["source"]) == (200, "redis")
        new_id = answer.json()["new_task_id"]

        async def is_queued() -> bool:  # behind the answer
            return await stack.queue.redis.zscore("arq:queue", new_id) is not None

        await eventually(is_queued)
        assert await stack.queue.redis.zcard("arq:queue") == 1
        await stack.start_worker()
        assert (await stack.wait_until_ended(new_id))["status"] == "success"
        assert [job.task_id for job in stack.publisher.published] == [new_id]
        old = await stack.task("stock")
        assert (old["status"], old["task_data"]) == ("cancelled", TASK)


async def test_many_stock_jobs_that_wait_are_withdrawn_when_they_are_retried() -> None:
    async with everpost_stack(workers=0) as stack, stock_client(stack) as client:
        old_ids = [f"stock{number}" for number in range(3)]
        for task_id in old_ids:
            await client.enqueue_job("publish", TASK, _job_id=task_id)
        answer = await stack.client.post("/api/v1/tasks/batch/retry", json={"task_ids": old_ids})
        await stack.start_worker()
        await stack.drain()
        assert sorted(job.task_id for job in stack.publisher.published) == sorted(answer.json()["new_task_ids"])


@pytest.mark.parametrize(("task_id", "extra"), [("nul", {"note": "a\0b"}), ("no\nid", {})])
async def test_a_stock_job_that_a_worker_would_refuse_stays_in_redis_when_it_is_retried(
    task_id: str, extra: dict[str, Any]
) -> None:
    async with everpost_stack(workers=0) as stack, stock_client(stack) as client:
        await client.enqueue_job("publish", TASK | extra, _job_id=task_id)
        answer = await stack.client.post("/api/v1/tasks/batch/retry", json={"task_ids": [task_id]})
        assert [one["code"] for one in answer.json()["errors"]] == ["task_unreadable"]
        assert await stack.queue.redis.zscore("arq:queue", task_id) is not None
        assert await stack.store.ledger.count_unfinished() == 0
        await stack.start_worker()

        async def refused() -> list[str | None]:
            return [row.error_class for row in (await stack.store.history.page(TaskFilter())).items]

        assert await eventually(refused) == ["invalid"]


async def test_a_stock_job_that_was_never_claimed_stays_in_redis_when_it_is_cancelled() -> None:
    async with everpost_stack(workers=0) as stack, stock_client(stack) as client:
        await client.enqueue_job("publish", TASK, _job_id="stock")
        for path in ("cancel/stock", "cancel/stock?force=true"):
            assert (await stack.client.post(f"/api/v1/tasks/{path}")).status_code == 404
        await stack.client.post("/api/v1/tasks/batch/cancel", json={"task_ids": ["stock"], "force": True})
        assert await stack.queue.redis.exists("arq:job:stock") == 1
        assert await stack.queue.redis.zscore("arq:queue", "stock") is not None


async def test_a_job_whose_retry_lives_does_not_run_and_keeps_no_other_from_running() -> None:
    async with everpost_stack(workers=0) as stack, stock_client(stack) as client:
        await client.enqueue_job("publish", TASK, _job_id="stock")
        retry_id = (await stack.post_retry("stock")).json()["new_task_id"]
        kit_of(stack.settings).remove(Place.HISTORY, "stock")  # as `everpost purge` does in the end
        await stack.flush_redis()
        await queue_by_hand(stack, "stock", system_clock())
        other_id = await stack.publish()
        await stack.start_worker()
        for task_id in (other_id, retry_id):
            assert (await stack.wait_until_ended(task_id))["status"] == "success"
        assert "stock" not in {job.task_id for job in stack.publisher.published}


@pytest.mark.parametrize("enqueued_at", [10**18, -(10**18)])
async def test_a_job_with_an_invalid_time_ends_and_keeps_no_other_from_running(enqueued_at: int) -> None:
    async with everpost_stack(workers=0) as stack:
        await queue_by_hand(stack, "odd", enqueued_at)
        task_id = await stack.publish()
        await stack.start_worker()
        assert (await stack.wait_until_ended(task_id))["status"] == "success"
        odd = await stack.wait_until_ended("odd")
        assert (odd["status"], odd["error_class"]) == ("failed", "unreadable")


async def test_a_job_whose_id_is_not_a_text_keeps_no_other_from_running() -> None:
    async with everpost_stack(workers=0) as stack:
        await stack.queue.redis.set(b"arq:job:\xff", b"")
        await stack.queue.redis.zadd("arq:queue", {b"\xff": 1})
        task_id = await stack.publish()
        await stack.start_worker()
        assert (await stack.wait_until_ended(task_id))["status"] == "success"


@pytest.mark.parametrize("success", [5, "x", [1]])
async def test_a_result_with_an_odd_outcome_is_retried(success: Any) -> None:
    async with everpost_stack(workers=0) as stack:
        result = {"t": 1, "f": "publish", "a": (TASK,), "k": {}, "et": 1, "s": success}
        await stack.queue.redis.set("arq:result:odd", serialize(result))
        assert (await stack.post_retry("odd")).status_code in {200, 409}


async def test_a_job_dated_ahead_is_one_the_relay_looks_for() -> None:
    async with everpost_stack(workers=0) as stack:
        stack.publisher.hold()
        await queue_by_hand(stack, "ahead", system_clock() + 3_600_000)
        await stack.start_worker()
        await eventually(lambda: sending(stack, "ahead"))
        (task,) = kit_of(stack.settings).tasks()
        assert (task.created_at or "~") <= to_text(system_clock())
        stack.publisher.release()
        await asyncio.wait_for(stack.wait_until_ended("ahead"), 20)
