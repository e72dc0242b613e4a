"""A Redis that fills up: waiting tasks are worked off, old results make room, and operators are warned."""

import asyncio
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from everpost.publishing import InvalidError
from everpost.queue.codec import deserialize, serialize
from everpost.queue.keys import RESULT, RESULTS_KEY
from everpost.queue.pool import connection_pool
from everpost.testing import Stack, eventually, everpost_stack

TITLE = "x" * 300


async def fill(stack: Stack) -> None:
    """Leave Redis no memory: from now on it refuses whatever needs some."""
    used = (await stack.queue.redis.info("memory"))["used_memory"]
    await stack.queue.redis.config_set("maxmemory", used // 2)
    with pytest.raises(ResponseError):
        await stack.queue.redis.set("one", "more")


async def publish_many(stack: Stack, count: int, **fields: Any) -> list[str]:
    """Post tasks."""
    return list(await asyncio.gather(*(stack.publish(**fields) for _ in range(count))))


async def results_in(stack: Stack, task_ids: list[str]) -> list[bool]:
    """Whether Redis has the result of each task."""
    return [value is not None for value in await stack.queue.redis.mget([RESULT + one for one in task_ids])]


async def test_waiting_tasks_in_a_full_redis_are_worked_off(everpost: Stack) -> None:
    await everpost.stop_workers()
    waiting = await publish_many(everpost, 300)
    await fill(everpost)
    late = await everpost.publish()  # still accepted; the relay brings it once there is room
    everpost.publisher.fail_next(*(InvalidError("no") for _ in range(5)))
    await everpost.start_worker()
    for task_id in waiting:
        assert (await everpost.wait_until_ended(task_id))["status"] in {"success", "failed"}
    assert await eventually(everpost.queue.workers.living, what="a worker that says it lives")

    async def is_forgotten() -> bool:
        return await everpost.queue.redis.zcard("arq:queue") == 0 and not await everpost.queue.redis.keys("arq:job:*")

    await eventually(is_forgotten, what="the release of all jobs")
    assert await everpost.queue.jobs.withdraw_task("none")
    await everpost.queue.redis.config_set("maxmemory", 0)
    assert (await everpost.wait_until_ended(late))["status"] == "success"
    assert everpost.publisher.times_published(late) == 1
    assert len(everpost.publisher.published) + 5 == 301


async def test_a_job_handed_back_to_a_full_redis_is_due_at_once(everpost: Stack) -> None:
    everpost.publisher.hold()
    task_id = await everpost.publish()

    async def is_attempted() -> bool:
        return bool(everpost.publisher.attempts)

    await eventually(is_attempted, what="an attempt")
    await fill(everpost)
    everpost.publisher.release()
    task = await everpost.wait_until_ended(task_id)
    assert task["status"] == "success"


async def test_results_are_kept_within_a_bound_and_the_oldest_go_first() -> None:
    async with everpost_stack(result_memory=40_000) as stack:
        first = await publish_many(stack, 60, title=TITLE)
        await stack.drain()
        second = await publish_many(stack, 60, title=TITLE)
        await stack.drain()

        async def is_bounded() -> bool:
            left_bytes = (await stack.queue.losses.shed_results(2**53, 0)).left_bytes
            return left_bytes <= 40_000 and not all(await results_in(stack, first))

        await eventually(is_bounded, what="fewer results")
        kept = await results_in(stack, [*first, *second])
        assert 60 < kept.count(True) < 120
        assert all(kept[60:])
        answers = [(await stack.post_retry(one, force=True)).json()["source"] for one in (first[0], second[0])]
        assert answers == ["sqlite", "redis"]


async def test_results_make_room_before_redis_is_full() -> None:
    async with everpost_stack() as stack:
        task_ids = await publish_many(stack, 200)
        await stack.drain()

        async def has_room() -> bool:
            memory = await stack.queue.server.memory()
            if all(await results_in(stack, task_ids)):  # buffers may have gone, and left enough room
                await stack.queue.redis.config_set("maxmemory", int(memory.used_bytes / 0.8))
                return False
            return memory.share < 0.8

        await eventually(has_room, what="room")
        await stack.queue.redis.config_set("maxmemory", (await stack.queue.server.memory()).used_bytes // 2)

        async def has_none() -> bool:
            return not any(await results_in(stack, task_ids)) and not await stack.queue.redis.exists(RESULTS_KEY)

        await eventually(has_none, what="Redis without results")


async def test_the_index_of_results_goes_with_them() -> None:
    async with everpost_stack(result_ttl=1) as stack:
        await publish_many(stack, 3)
        await stack.drain()

        async def is_gone() -> bool:
            return not await stack.queue.redis.keys(f"{RESULTS_KEY}*")

        await eventually(is_gone, what="an empty index")


async def test_an_overwritten_results_index_delays_nothing(everpost: Stack) -> None:
    await everpost.queue.redis.set(RESULTS_KEY, "evil")
    task_id = await everpost.publish()
    await everpost.wait_until_ended(task_id)

    async def is_mended() -> bool:
        kind = await everpost.queue.redis.type(RESULTS_KEY)
        return kind != b"string" and (await results_in(everpost, [task_id]))[0]

    await eventually(is_mended, what="an index of its own")


async def test_a_success_s_result_is_small_and_read_by_stock_clients(everpost: Stack) -> None:
    task_id, failed = await everpost.publish(title=TITLE), ""
    await everpost.wait_until_ended(task_id)
    everpost.publisher.fail_next(InvalidError("no"))
    failed = await everpost.publish(title=TITLE)
    await everpost.wait_until_ended(failed)
    pool = connection_pool(everpost.valkey.address)
    client = ArqRedis(pool, job_serializer=serialize, job_deserializer=deserialize)
    result = await Job(task_id, client, _deserializer=deserialize).result(timeout=10, poll_delay=0.01)
    await client.aclose(close_connection_pool=True)
    assert result["provider_post_id"] == "post-1"

    async def both() -> Any:
        found = await everpost.queue.redis.mget(RESULT + task_id, RESULT + failed)
        return found if all(found) else None

    success, failure = await eventually(both, what="both results")
    assert TITLE.encode() not in success
    assert TITLE.encode() in failure  # what is retried is whole in Redis too
    assert len(success) < 300
    answer = (await everpost.post_retry(task_id, force=True)).json()
    assert (answer["source"], answer.get("warning")) == ("redis", None)
    new = await everpost.wait_until_ended(answer["new_task_id"])
    assert new["task_data"]["title"] == TITLE


async def test_a_redis_that_fills_up_is_reported_before_it_is_full(everpost: Stack) -> None:
    with capture_logs() as lines:
        await everpost.stop_workers()
        await everpost.start_worker()  # which looks up its logger anew

        async def is_ready() -> Any:
            answer = await everpost.client.get("/health/ready")
            return answer if answer.status_code == 200 else None

        await eventually(is_ready, what="readiness")
        used_bytes = (await everpost.queue.server.memory()).used_bytes
        await everpost.queue.redis.config_set("maxmemory", int(used_bytes / 0.9))

        async def is_told() -> bool:
            return any(line["event"] == "redis.fills_up" and line["log_level"] == "warning" for line in lines)

        await eventually(is_told, what="a warning")
        answer = await eventually(is_ready, what="readiness all the same")
        metrics = await everpost.client.get("/metrics")
    check = next(check for check in answer.json()["checks"] if check["name"] == "redis")
    assert "% of its maxmemory is used" in check["detail"]
    assert "everpost_redis_memory_bytes " in metrics.text
    assert "everpost_redis_memory_limit_bytes " in metrics.text
