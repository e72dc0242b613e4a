"""I8 with arq as it comes: `create_pool`, `enqueue_job` and `Job` with their own serializer, which is pickle."""

import asyncio
import base64
import pickle
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import DeserializationError, JobStatus
from arq.worker import JobExecutionFailed

from arq_client import job_of
from everpost.publishing import TransientError
from everpost.testing import Stack, eventually
from store_kit import kit_of

TASK = {"platform": 3, "account_id": "stock", "title": "来自 arq", "tags": ["a", "b"], "extra": [1, {"a": None}, 2.5]}


@pytest.fixture
async def arq(everpost: Stack) -> AsyncIterator[ArqRedis]:
    """A stock arq client."""
    client = await create_pool(RedisSettings.from_dsn(everpost.valkey.address))
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.mark.parametrize("kwargs", [{}, {"task_data": TASK, "priority": 2}])
async def test_a_stock_client_s_post_is_published_and_its_result_read(
    everpost: Stack, arq: ArqRedis, kwargs: Mapping[str, Any]
) -> None:
    job = await job_of(arq, "publish", *(() if kwargs else (TASK, 2)), **kwargs)
    result = await job.result(timeout=10, poll_delay=0.01)
    assert result["provider_post_id"] == "post-1"
    assert await job.status() is JobStatus.complete
    info = await job.result_info()
    assert info is not None
    assert (info.success, info.function, info.job_id) == (True, "publish", job.job_id)
    assert await job.info() is not None
    task = await everpost.task(job.job_id)
    assert (task["status"], task["task_data"], task["priority"]) == ("success", TASK, 2)


async def test_a_stock_client_sees_its_job_wait_and_be_due_later(everpost: Stack, arq: ArqRedis) -> None:
    await everpost.stop_workers()
    job = await job_of(arq, "publish", TASK, _job_id="mine")
    later = await job_of(arq, "publish", TASK, _defer_by=3600)
    assert (await job.status(), await later.status()) == (JobStatus.queued, JobStatus.deferred)
    info = await job.info()
    assert info is not None
    assert (info.function, info.args) == ("publish", (TASK,))
    assert await arq.enqueue_job("publish", TASK, _job_id="mine") is None  # arq's own guard
    await everpost.start_worker()
    assert (await job.result(timeout=10, poll_delay=0.01))["provider_post_id"] == "post-1"
    assert await later.status() is JobStatus.deferred
    assert (await everpost.task("mine"))["status"] == "success"


async def test_a_stock_client_uses_the_queue_of_another_priority(everpost: Stack, arq: ArqRedis) -> None:
    job = await job_of(arq, "publish", TASK, 9, _queue_name="arq:queue:p9")
    assert (await job.result(timeout=10, poll_delay=0.01))["provider_post_id"] == "post-1"
    assert (await everpost.task(job.job_id))["priority"] == 9


async def test_a_deferred_stock_job_runs_when_it_is_due(everpost: Stack, arq: ArqRedis) -> None:
    job = await job_of(arq, "publish", TASK, _defer_by=0.3)
    assert (await job.result(timeout=10, poll_delay=0.01))["provider_post_id"] == "post-1"


async def test_a_stock_job_that_expired_unclaimed_is_told_as_such(everpost: Stack, arq: ArqRedis) -> None:
    await everpost.stop_workers()
    job = await job_of(arq, "publish", TASK, _expires=0.01)

    async def is_expired() -> bool:
        return not await arq.exists(f"arq:job:{job.job_id}")

    await eventually(is_expired)
    await everpost.start_worker()
    task = await everpost.wait_until_ended(job.job_id)
    assert (task["status"], task["error_class"]) == ("failed", "expired")
    with pytest.raises(JobExecutionFailed, match="expired"):
        await job.result(timeout=10, poll_delay=0.01)


async def test_a_failure_reaches_a_stock_client_as_an_exception_that_arq_has(everpost: Stack, arq: ArqRedis) -> None:
    job = await job_of(arq, "publish", {"platform": "nowhere"})
    with pytest.raises(JobExecutionFailed, match="nowhere"):
        await job.result(timeout=10, poll_delay=0.01)
    info = await job.result_info()
    assert info is not None
    assert info.success is False
    task = await everpost.task(job.job_id)
    assert (task["status"], task["error_class"], task["task_data"]) == ("failed", "invalid", {"platform": "nowhere"})


async def test_a_stock_client_aborts_a_job_that_waits(everpost: Stack, arq: ArqRedis) -> None:
    job = await job_of(arq, "publish", TASK, _defer_by=3600)
    assert await job.abort(timeout=10, poll_delay=0.01) is True
    task = await everpost.wait_until_ended(job.job_id)
    assert (task["status"], task["task_data"]) == ("cancelled", TASK)
    assert not everpost.publisher.attempts


async def test_a_stock_client_aborts_a_job_that_runs(everpost: Stack, arq: ArqRedis) -> None:
    everpost.publisher.hold()
    job = await job_of(arq, "publish", TASK)

    async def attempted() -> bool:
        return bool(everpost.publisher.attempts)

    await eventually(attempted, what="an attempt")
    assert await job.abort(timeout=10, poll_delay=0.01) is True
    task = await everpost.wait_until_ended(job.job_id)
    assert task["status"] == "unknown"  # it was cut off while it was being sent


async def test_a_job_the_relay_brings_back_for_a_stock_client_stays_in_its_serializer(everpost: Stack) -> None:
    """Adopted, deferred by a failure, lost by Redis: the job that comes back from the ledger is a pickle again."""
    client = await create_pool(RedisSettings.from_dsn(everpost.valkey.address))
    everpost.publisher.fail_next(TransientError("not yet"))
    job = await job_of(client, "publish", TASK)

    async def is_deferred() -> bool:
        return [task.status for task in kit_of(everpost.settings).tasks()] == ["retry"]

    await eventually(is_deferred, what="the first attempt's failure")
    await everpost.queue.redis.flushall()
    assert (await everpost.wait_until_ended(job.job_id))["status"] == "success"

    async def info() -> Any:
        return await job.result_info()

    found = await eventually(info, what="the result")
    assert (found.success, found.result["provider_post_id"]) == (True, "post-1")
    await client.aclose(close_connection_pool=True)


async def test_a_job_of_an_unknown_function_keeps_its_message(everpost: Stack, arq: ArqRedis) -> None:
    job = await job_of(arq, "transcode", {"platform": 3}, 2, codec="av1")
    with pytest.raises(JobExecutionFailed, match="transcode"):
        await job.result(timeout=10, poll_delay=0.01)
    task = await everpost.task(job.job_id)
    assert (task["status"], task["error_class"], task["task_data"]) == ("failed", "invalid", None)
    assert pickle.loads(base64.b64decode(task["raw_job"]["base64"]))["k"] == {"codec": "av1"}
    refused = await everpost.post_retry(job.job_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "task_unreadable")
    assert "transcode" in refused.json()["detail"]


async def test_an_unreadable_message_is_kept_shown_archived_and_retried_once_it_is_readable(
    everpost: Stack, arq: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    job = await job_of(arq, "publish", {**TASK, "when": when})
    with pytest.raises(DeserializationError):
        await job.result(timeout=10, poll_delay=0.01)
    task = await everpost.task(job.job_id)
    assert (task["status"], task["error_class"]) == ("failed", "unreadable")
    assert "global" in task["error_message"]
    raw = base64.b64decode(task["raw_job"]["base64"])
    assert pickle.loads(raw)["a"] == ({**TASK, "when": when},)
    assert task["raw_job"]["size_bytes"] == len(raw)
    assert "stock" in task["raw_job"]["text"]
    await everpost.flush_redis()
    refused = await everpost.post_retry(job.job_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "task_unreadable")
    bulk = await everpost.client.post("/api/v1/tasks/batch/retry", json={"task_ids": [job.job_id]})
    assert [one["code"] for one in bulk.json()["errors"]] == ["task_unreadable"]

    assert (await everpost.client.delete(f"/api/v1/tasks/{job.job_id}")).status_code == 200
    archived = await everpost.task(job.job_id)
    assert (archived["place"], archived["raw_job"]) == ("publish_tasks_archive", task["raw_job"])
    monkeypatch.setattr("everpost.queue.codec.read_plain_pickle", _reader_of_a_later_version)
    retried = await everpost.post_retry(job.job_id)
    assert (retried.status_code, retried.json()["source"]) == (200, "archive")
    again = await everpost.wait_until_ended(retried.json()["new_task_id"])
    assert (again["status"], again["task_data"]) == ("success", {**TASK, "when": "2026-01-01T00:00:00Z"})


def _reader_of_a_later_version(payload: bytes) -> Any:
    return pickle.loads(payload)


async def test_a_message_without_a_json_object_is_kept_too(everpost: Stack, arq: ArqRedis) -> None:
    for task_data in ("no JSON", 5, {"platform": 3, "x": "a\0b"}):
        job = await job_of(arq, "publish", task_data)
        with pytest.raises(JobExecutionFailed):
            await job.result(timeout=10, poll_delay=0.01)
        task = await everpost.task(job.job_id)
        assert (task["status"], task["error_class"]) == ("failed", "invalid")
        assert pickle.loads(base64.b64decode(task["raw_job"]["base64"]))["a"] == (task_data,)


async def test_many_stock_clients_at_once_get_their_own_results(everpost: Stack, arq: ArqRedis) -> None:
    jobs = [await job_of(arq, "publish", {**TASK, "title": str(number)}) for number in range(40)]
    results = await asyncio.gather(*(job.result(timeout=20, poll_delay=0.02) for job in jobs))
    assert len({result["provider_post_id"] for result in results}) == len(jobs)
