"""I8: stock arq on the other end of the wire."""

import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus
from arq.worker import Worker, func

from arq_client import job_of
from everpost.queue.codec import deserialize, serialize
from everpost.queue.pool import connection_pool
from everpost.testing import Stack, eventually
from store_kit import kit_of

TASK = {"platform": 3, "account_id": "stock", "title": "from arq", "extra": [1, {"a": None}]}


@pytest.fixture
async def stock(everpost: Stack) -> AsyncIterator[ArqRedis]:
    """A stock arq client that speaks msgpack."""
    pool = connection_pool(everpost.valkey.address)
    client = ArqRedis(pool, job_serializer=serialize, job_deserializer=deserialize)
    yield client
    await client.aclose(close_connection_pool=True)


async def test_a_stock_client_enqueues_a_plain_dict_and_reads_status_and_result(
    everpost: Stack, stock: ArqRedis
) -> None:
    job = await job_of(stock, "publish", task_data=TASK, priority=2)
    result = await job.result(timeout=10, poll_delay=0.01)
    assert result["provider_post_id"] == "post-1"
    assert await job.status() is JobStatus.complete
    info = await job.result_info()
    assert info is not None
    assert (info.success, info.function, info.job_id) == (True, "publish", job.job_id)


async def test_a_stock_client_s_job_is_recorded_with_its_whole_payload_and_can_be_retried(
    everpost: Stack, stock: ArqRedis
) -> None:
    job = await job_of(stock, "publish", TASK, 2)
    task = await everpost.wait_until_ended(job.job_id)
    assert (task["status"], task["task_data"], task["priority"]) == ("success", TASK, 2)
    await job.result(timeout=10, poll_delay=0.01)  # comes to Redis after the record
    await everpost.flush_redis()
    answer = (await everpost.post_retry(job.job_id, force=True)).json()
    assert answer["source"] == "sqlite"


async def test_a_stock_client_reads_the_status_of_a_job_we_enqueued(everpost: Stack, stock: ArqRedis) -> None:
    await everpost.stop_workers()
    job = Job(await everpost.publish(), stock, _deserializer=deserialize)
    assert await job.status() is JobStatus.queued
    info = await job.info()
    assert info is not None
    assert info.function == "publish"
    await everpost.start_worker()
    assert (await job.result(timeout=10, poll_delay=0.01))["provider_post_id"] == "post-1"


async def test_a_stock_client_sees_a_failure_as_a_failure(everpost: Stack, stock: ArqRedis) -> None:
    job = await job_of(stock, "publish", task_data={"platform": "nowhere"})
    task = await everpost.wait_until_ended(job.job_id)
    assert (task["status"], task["error_class"]) == ("failed", "invalid")
    info = await eventually(job.result_info, what="the result in Redis, which comes after the record")
    assert info is not None
    assert info.success is False


async def test_a_job_of_an_unknown_function_is_recorded_as_failed(everpost: Stack, stock: ArqRedis) -> None:
    job = await job_of(stock, "transcode", 1, 2)
    task = await everpost.wait_until_ended(job.job_id)
    assert task["status"] == "failed"
    assert "transcode" in task["error_message"]


async def test_a_stock_worker_s_result_is_understood_by_our_retry(everpost: Stack, stock: ArqRedis) -> None:
    """A deployment that still runs stock workers for some of its tasks: only Redis knows how they ended."""
    await everpost.stop_workers()

    async def publish(ctx: dict[str, Any], task_data: Any, priority: int = 5) -> None:
        raise RuntimeError("the platform says no")

    job = await job_of(stock, "publish", task_data=TASK, priority=7)
    pool = ArqRedis(connection_pool(everpost.valkey.address))
    worker = Worker(
        [func(publish, name="publish")], redis_pool=pool, burst=True, handle_signals=False, poll_delay=0.01,
        job_serializer=serialize, job_deserializer=deserialize,
    )  # fmt: skip
    await worker.async_run()
    await worker.close()
    assert kit_of(everpost.settings).tasks() == []
    answer = (await everpost.post_retry(job.job_id)).json()
    assert (answer["source"], answer["message"]) == ("redis", "Task resubmitted to arq from Redis")
    await everpost.start_worker()
    task = await everpost.wait_until_ended(answer["new_task_id"])
    assert (task["task_data"], task["priority"], task["retry_of"]) == (TASK, 7, job.job_id)


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


async def test_a_pickle_planted_in_redis_is_recorded_as_unreadable_and_never_loaded(
    everpost: Stack, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    planted = pickle.dumps({"f": "publish", "a": (), "k": {"task_data": Malicious(trap)}, "t": 1, "et": 1})
    await everpost.queue.redis.set("arq:job:planted", planted)
    await everpost.queue.redis.zadd("arq:queue", {"planted": 1})
    task = await everpost.wait_until_ended("planted")
    assert (task["status"], task["error_class"]) == ("failed", "unreadable")
    refused = await everpost.post_retry("planted")
    assert (refused.status_code, refused.json()["code"]) == (409, "task_unreadable")
    assert not trap.exists()


async def test_a_stock_client_aborts_a_running_job(everpost: Stack, stock: ArqRedis) -> None:
    everpost.publisher.hold()
    job = await job_of(stock, "publish", task_data=TASK)

    async def attempted() -> bool:
        return bool(everpost.publisher.attempts)

    await eventually(attempted, what="an attempt")
    await stock.zadd("arq:abort", {job.job_id: 2**48})
    task = await everpost.wait_until_ended(job.job_id)
    assert task["status"] == "unknown"  # it was cut off while it was being sent
