"""Other programs can write to Redis: SQLite's data is run and retried, and differences are logged."""

from typing import Any

import msgspec
import pytest
from arq.connections import ArqRedis
from structlog.testing import capture_logs

from everpost.clock import system_clock
from everpost.publishing import InvalidError
from everpost.queue.codec import deserialize, job_of, serialize
from everpost.queue.pool import connection_pool
from everpost.task.model import new_task_id
from everpost.task.place import Place
from everpost.task.retry_plan import DIFFERS
from everpost.testing import Stack, eventually
from store_kit import kit_of
from store_rows import make_task

HONEST: dict[str, Any] = {"platform": 3, "account_id": "shop", "title": "an honest post", "priority": 4}
FORGED: dict[str, Any] = {"platform": 1, "account_id": "somebody", "title": "a forged post!", "priority": 0}


async def forge_job(stack: Stack, task_id: str, **changes: Any) -> None:
    """Change what Redis has of a waiting task, arguments and envelope."""
    key = f"arq:job:{task_id}"
    message = deserialize(await stack.queue.redis.get(key))
    arguments = {"task_data": msgspec.json.encode(FORGED), "priority": 0}
    await stack.queue.redis.set(key, serialize({**message, "k": {**message["k"], **arguments}, **changes}))


async def forged_result(stack: Stack, task_id: str, data: dict[str, Any] = FORGED) -> None:
    """A result that another program planted for a task."""
    job = deserialize(job_of(make_task(task_id, task_data=msgspec.json.encode(data)), 1))
    await stack.queue.redis.set(f"arq:result:{task_id}", serialize({**job, "s": False, "r": None}))


def differences(lines: Any) -> list[Any]:
    """The tasks that were said to differ."""
    return [line["task_id"] for line in lines if line["event"] == "task.data_differs" and line["log_level"] == "error"]


@pytest.mark.parametrize("title", ["a forged post!", "another length", "x" * 200_000])
async def test_a_job_forged_in_redis_is_published_as_the_ledger_has_it(everpost: Stack, title: str) -> None:
    await everpost.stop_workers()
    task_id, other = [await everpost.publish(**HONEST) for _ in range(2)]
    await forge_job(everpost, task_id, k={"task_data": msgspec.json.encode({**FORGED, "title": title})})
    with capture_logs() as lines:
        await everpost.start_worker()
        tasks = [await everpost.wait_until_ended(one) for one in (task_id, other)]
    assert [job.data for job in everpost.publisher.published] == [HONEST, HONEST]
    assert {job.platform.name for job in everpost.publisher.published} == {"douyin"}
    assert [(task["status"], task["task_data"], task["priority"], task["title"]) for task in tasks] == [
        ("success", HONEST, 4, HONEST["title"])
    ] * 2
    assert differences(lines) == [task_id]
    assert "forged" not in repr([line for line in lines if line["event"] == "task.data_differs"])  # no payloads


async def test_an_envelope_forged_in_redis_does_not_end_a_task_of_the_ledger(everpost: Stack) -> None:
    changes: tuple[dict[str, Any], ...] = ({"f": "other"}, {"t": 2_000_000}, {"k": {}}, {"k": {"task_data": b"junk"}})
    await everpost.stop_workers()
    task_ids = [await everpost.publish(**HONEST) for _ in changes]
    for task_id, change in zip(task_ids, changes, strict=True):
        await forge_job(everpost, task_id, **change)
    await everpost.start_worker()
    for task_id in task_ids:
        assert (await everpost.wait_until_ended(task_id))["status"] == "success"
    assert [job.data for job in everpost.publisher.published] == [HONEST] * len(changes)


async def test_a_stock_client_s_task_that_comes_again_is_not_taken_for_forged(everpost: Stack) -> None:
    everpost.publisher.fail_next(InvalidError("no"))
    client = ArqRedis(connection_pool(everpost.valkey.address), job_serializer=serialize, job_deserializer=deserialize)
    await everpost.stop_workers()
    data = {**HONEST, "extra": ["钱", 1.5, {"a": None}]}
    await client.enqueue_job("publish", data, _job_id='a "stock" id\\')
    with capture_logs() as lines:
        everpost.publisher.hold()
        await everpost.start_worker()
        await eventually(lambda: _is_adopted(everpost), what="the adoption")
        await everpost.stop_workers()  # it goes back and is claimed once more, from the ledger
        everpost.publisher.release()
        await everpost.start_worker()
        (task,) = kit_of(everpost.settings).tasks()
        await eventually(lambda: _has_ended(everpost), what="its end")
    assert task.task_id == 'a "stock" id\\'
    assert differences(lines) == []
    await client.aclose(close_connection_pool=True)


async def _is_adopted(stack: Stack) -> bool:
    return bool(stack.publisher.attempts)


async def _has_ended(stack: Stack) -> bool:
    return kit_of(stack.settings).count(Place.HISTORY) > 0


async def test_a_row_without_data_runs_with_what_redis_has(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish(**HONEST)
    kit_of(everpost.settings).change(Place.LEDGER, task_id, data=None)
    await everpost.start_worker()
    assert (await everpost.wait_until_ended(task_id))["status"] == "success"
    assert [job.data for job in everpost.publisher.published] == [HONEST]


@pytest.mark.parametrize("place", [Place.HISTORY, Place.ARCHIVE])
async def test_a_result_forged_in_redis_is_not_what_a_retry_sends(everpost: Stack, place: Place) -> None:
    task_id = new_task_id(system_clock())
    data = msgspec.json.encode(HONEST).decode()
    kit_of(everpost.settings).add(place, {"task_id": task_id, "status": "failed", "data": data, "priority": 4})
    await forged_result(everpost, task_id)
    with capture_logs() as lines:
        answer = (await everpost.post_retry(task_id)).json()
    assert (answer["source"], answer["message"]) == ("redis", "Task resubmitted to arq from Redis")
    assert answer["warning"] == DIFFERS
    assert differences(lines) == [task_id]
    task = await everpost.wait_until_ended(answer["new_task_id"])
    assert (task["task_data"], task["priority"], task["account_id"]) == (HONEST, 4, "shop")
    assert [job.data for job in everpost.publisher.published] == [HONEST]


async def test_a_waiting_job_forged_in_redis_is_not_what_its_retry_sends(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish(**HONEST)
    await forge_job(everpost, task_id)
    answer = (await everpost.post_retry(task_id)).json()
    assert (answer["source"], answer["warning"]) == ("redis", DIFFERS)
    await everpost.start_worker()
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["task_data"] == HONEST
    assert [job.data for job in everpost.publisher.published] == [HONEST]


async def test_a_large_task_forged_in_redis_is_not_what_a_retry_sends(everpost: Stack) -> None:
    task_id, large = new_task_id(system_clock()), {**HONEST, "title": "x" * 100_000}
    data = msgspec.json.encode(large).decode()
    kit_of(everpost.settings).add(Place.HISTORY, {"task_id": task_id, "status": "failed", "data": data})
    await forged_result(everpost, task_id)
    answer = (await everpost.post_retry(task_id)).json()
    assert (answer["source"], answer["warning"]) == ("redis", DIFFERS)
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["task_data"] == large


async def test_a_result_with_an_invalid_platform_does_not_prevent_a_retry(everpost: Stack) -> None:
    task_id = new_task_id(system_clock())
    data = msgspec.json.encode(HONEST).decode()
    kit_of(everpost.settings).add(Place.HISTORY, {"task_id": task_id, "status": "failed", "data": data})
    await forged_result(everpost, task_id, {"platform": "nowhere"})
    assert (await everpost.post_retry(task_id)).json()["source"] == "redis"


async def test_a_row_without_data_is_retried_with_what_redis_has_of_it(everpost: Stack) -> None:
    task_id = new_task_id(system_clock())
    kit_of(everpost.settings).add(Place.HISTORY, {"task_id": task_id, "status": "failed", "platform": "1"})
    await forged_result(everpost, task_id, HONEST)
    answer = (await everpost.post_retry(task_id)).json()
    assert (answer["source"], answer.get("warning")) == ("redis", None)
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["task_data"] == HONEST
