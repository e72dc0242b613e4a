"""The tiers of a retry, in their order, with the original's answers."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from everpost.clock import system_clock
from everpost.publishing import InvalidError, OutcomeUnknownError
from everpost.queue.codec import deserialize, job_of, serialize
from everpost.queue.enqueuer import Enqueuer
from everpost.queue.jobs import Jobs
from everpost.queue.task_queue import TaskQueue
from everpost.task.candidate import LARGEST_LOCKED
from everpost.task.model import Task, new_task_id
from everpost.task.place import Place
from everpost.task.queued_job import QueuedJob
from everpost.task.retry_plan import REBUILT
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of
from store_rows import make_task

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

TASK: dict[str, Any] = {"platform": 2, "account_id": "shop", "title": "钱", "priority": 3, "unknown": {"big": 2**70}}


async def failed_task(stack: Stack, **fields: Any) -> str:
    """A task that has failed for good."""
    stack.publisher.fail_next(InvalidError("the platform says no"))
    task_id = await stack.publish(**fields)
    assert (await stack.wait_until_ended(task_id))["status"] == "failed"
    return task_id


async def inherit(
    stack: Stack, task_id: str, data: str | None, *, status: str = "pending", task_type: str = "publish"
) -> None:
    """A row of an original file's task_queue."""
    row = {"task_id": task_id, "task_type": task_type, "status": status, "data": data}
    kit_of(stack.settings).add(Place.LEDGER, row)


async def test_a_failed_task_in_redis_is_retried_from_redis(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    answer = await everpost.post_retry(task_id)
    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "message": "Task resubmitted to arq from Redis",
        "new_task_id": answer.json()["new_task_id"],
        "original_task_id": task_id,
        "source": "redis",
    }


@pytest.fixture
def may_queue(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until it is set, no task comes into its queue."""
    event, put = asyncio.Event(), Enqueuer.restore_tasks

    async def held(enqueuer: Enqueuer, tasks: Sequence[Task]) -> list[bool]:
        await event.wait()
        return await put(enqueuer, tasks)

    monkeypatch.setattr(Enqueuer, "restore_tasks", held)
    return event


async def test_a_retry_is_answered_before_it_is_queued(everpost: Stack, may_queue: asyncio.Event) -> None:
    may_queue.set()
    task_id = await failed_task(everpost)
    may_queue.clear()
    new_id = (await everpost.post_retry(task_id)).json()["new_task_id"]
    assert await everpost.queue.jobs.find_task(new_id) is None
    assert (await everpost.task(new_id))["status"] == "pending"
    may_queue.set()
    assert (await everpost.wait_until_ended(new_id))["status"] == "success"


async def test_a_retry_that_is_retried_before_it_is_queued_never_runs(
    everpost: Stack, may_queue: asyncio.Event
) -> None:
    may_queue.set()
    task_id = await failed_task(everpost)
    may_queue.clear()
    first = (await everpost.post_retry(task_id)).json()["new_task_id"]
    second = (await everpost.post_retry(first)).json()["new_task_id"]
    may_queue.set()
    assert (await everpost.wait_until_ended(second))["status"] == "success"
    assert (await everpost.task(first))["status"] == "cancelled"
    assert [everpost.publisher.times_published(one) for one in (first, second)] == [0, 1]


async def test_answered_tasks_are_queued_before_a_queue_closes(everpost: Stack, may_queue: asyncio.Event) -> None:
    await everpost.stop_workers()
    queue = TaskQueue.connect(everpost.valkey.address)
    queue.enqueuer.enqueue_soon(make_task("retried"))
    closing = asyncio.create_task(queue.close())
    await asyncio.sleep(0)
    may_queue.set()
    await closing
    assert await everpost.queue.jobs.find_task("retried") is not None


async def test_a_failed_task_gone_from_redis_is_retried_from_history(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    await everpost.flush_redis()
    answer = (await everpost.post_retry(task_id)).json()
    assert answer == {
        "success": True,
        "message": "Task resubmitted to arq from SQLite history",
        "new_task_id": answer["new_task_id"],
        "original_task_id": task_id,
        "source": "sqlite",
    }
    task = await everpost.wait_until_ended(answer["new_task_id"])
    assert (task["task_data"], task["priority"], task["retry_of"]) == (TASK, 3, task_id)


async def test_an_inherited_task_is_retried_from_task_queue_and_only_then_runs(everpost: Stack) -> None:
    await inherit(everpost, "old", msgspec.json.encode(TASK).decode())
    other = await everpost.publish()
    await everpost.wait_until_ended(other)
    assert [job.task_id for job in everpost.publisher.published] == [other]
    answer = (await everpost.post_retry("old")).json()
    assert answer["source"] == "task_queue"
    assert "warning" not in answer
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["task_data"] == TASK
    assert (await everpost.task("old"))["status"] == "cancelled"


async def test_an_archived_task_is_retried_from_the_archive(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    assert (await everpost.client.delete(f"/api/v1/tasks/{task_id}")).status_code == 200
    await everpost.flush_redis()
    answer = (await everpost.post_retry(task_id)).json()
    assert answer["source"] == "archive"
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["task_data"] == TASK


async def test_a_row_from_before_the_upgrade_is_rebuilt_with_the_warning(everpost: Stack) -> None:
    row = {"task_id": "old", "platform": "1", "account_id": "a", "material_id": "77", "title": "旧", "tags": '["x"]'}
    kit_of(everpost.settings).add(Place.HISTORY, {**row, "status": "failed"})
    answer = (await everpost.post_retry("old")).json()
    assert (answer["source"], answer["warning"]) == ("sqlite", REBUILT)
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["task_data"] == {
        "platform": 1, "account_id": "a", "file_id": 77, "title": "旧", "description": "", "tags": ["x"],
        "publish_mode": "auto",
    }  # fmt: skip


async def test_another_kind_of_task_of_the_original_is_nothing_to_publish(everpost: Stack) -> None:
    await inherit(everpost, "check", "{}", task_type="account_check")
    assert (await everpost.post_retry("check")).status_code == 404


async def test_an_unknown_task_is_not_found(everpost: Stack) -> None:
    answer = await everpost.post_retry("nowhere")
    assert answer.status_code == 404
    assert answer.json()["code"] == "task_not_found"


async def test_an_unknown_outcome_is_sent_again_only_by_force(everpost: Stack) -> None:
    everpost.publisher.fail_next(OutcomeUnknownError("the line was cut"))
    task_id = await everpost.publish()
    assert (await everpost.wait_until_ended(task_id))["status"] == "unknown"
    answer = await everpost.post_retry(task_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "outcome_unknown")
    assert (await everpost.post_retry(task_id, force=True)).status_code == 200


async def test_a_running_task_is_not_retried(everpost: Stack) -> None:
    everpost.publisher.hold()
    task_id = await everpost.publish()

    async def is_running() -> bool:
        return bool(everpost.publisher.attempts)

    await eventually(is_running, what="an attempt")
    answer = await everpost.post_retry(task_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "task_running")
    everpost.publisher.release()
    assert (await everpost.wait_until_ended(task_id))["status"] == "success"
    await everpost.drain()
    assert everpost.publisher.times_published(task_id) == 1


async def test_a_scheduled_task_keeps_its_time_through_a_retry(everpost: Stack) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    task_id = await everpost.publish(schedule_time=tomorrow)
    new_task_id = (await everpost.post_retry(task_id)).json()["new_task_id"]
    before, after = await everpost.task(task_id), await everpost.task(new_task_id)
    assert (before["status"], after["status"]) == ("cancelled", "scheduled")
    assert after["task_data"]["schedule_time"] == tomorrow
    assert everpost.publisher.attempts == []


@pytest.mark.parametrize("is_in_redis", [True, False])
async def test_a_task_with_much_data_is_retried_whole(everpost: Stack, *, is_in_redis: bool) -> None:
    note = "钱" * LARGEST_LOCKED
    task_id = await failed_task(everpost, **TASK, note=note)
    if not is_in_redis:
        await everpost.flush_redis()
    answer = (await everpost.post_retry(task_id)).json()
    assert answer["source"] == ("redis" if is_in_redis else "sqlite")
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["task_data"] == {**TASK, "note": note}


async def test_a_waiting_task_with_much_data_is_replaced_by_its_retry(everpost: Stack) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    task_id = await everpost.publish(schedule_time=tomorrow, note="x" * LARGEST_LOCKED)
    new_task_id = (await everpost.post_retry(task_id)).json()["new_task_id"]
    before, after = await everpost.task(task_id), await everpost.task(new_task_id)
    assert (before["status"], after["status"], after["task_data"]) == ("cancelled", "scheduled", before["task_data"])
    assert await everpost.queue.jobs.find_task(task_id) is None


async def test_everything_survives_any_number_of_retries(everpost: Stack) -> None:
    chain = [await failed_task(everpost, **TASK)]
    for _ in range(4):
        everpost.publisher.fail_next(InvalidError("still no"))
        await everpost.flush_redis()
        chain.append((await everpost.post_retry(chain[-1])).json()["new_task_id"])
        await everpost.wait_until_ended(chain[-1])
    tasks = [await everpost.task(task_id) for task_id in chain]
    assert {msgspec.json.encode(task["task_data"]) for task in tasks} == {msgspec.json.encode(TASK)}
    assert {task["priority"] for task in tasks} == {3}
    assert [task["retry_of"] for task in tasks] == [None, *chain[:-1]]
    keys = {job.idempotency_key for job in everpost.publisher.attempts}
    assert len(keys) == len(chain)  # each deliberate retry is a new effect to the platform


async def test_a_task_and_its_failed_retry_never_run_at_once(everpost: Stack) -> None:
    first = await failed_task(everpost)
    everpost.publisher.fail_next(InvalidError("still no"))
    second = (await everpost.post_retry(first)).json()["new_task_id"]
    await everpost.wait_until_ended(second)
    await everpost.stop_workers()
    answers = await asyncio.gather(*(everpost.post_retry(task_id) for task_id in (first, second) * 10))
    assert len({answer.json()["new_task_id"] for answer in answers}) == 1


async def test_without_results_in_redis_sqlite_is_the_only_source_of_truth() -> None:
    async with everpost_stack(result_ttl=0) as stack:
        task_id = await failed_task(stack, **TASK)

        async def is_forgotten() -> bool:  # after it is recorded
            return not await stack.queue.redis.keys(f"arq:*{task_id}")

        await eventually(is_forgotten, what="the task's end in Redis")
        answer = (await stack.post_retry(task_id)).json()
        assert answer["source"] == "sqlite"
        assert (await stack.wait_until_ended(answer["new_task_id"]))["status"] == "success"


@pytest.mark.parametrize("status", ["failed", "pending"])
async def test_while_redis_is_down_only_tasks_that_cannot_be_running_are_retried(status: str) -> None:
    async with everpost_stack(workers=1) as stack:
        task_id = await failed_task(stack) if status == "failed" else ""
        await stack.stop_workers()
        task_id = task_id or await stack.publish()
        assert stack.valkey.child is not None
        stack.valkey.child.kill()
        answer = await stack.post_retry(task_id)
        if status == "failed":
            assert answer.json()["source"] == "sqlite"
        else:
            assert (answer.status_code, answer.json()["code"]) == (503, "queue_unreachable")
            assert int(answer.headers["Retry-After"]) > 0
        await stack.valkey.start()
        await stack.start_worker()
        await stack.drain()


async def test_a_task_that_ends_while_it_is_looked_for_is_found(
    everpost: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the ledger when Redis is asked, and in the history when the store is."""
    find = Jobs.find_task

    async def end_first(jobs: Jobs, task_id: str) -> QueuedJob | None:
        found = await find(jobs, task_id)
        everpost.publisher.release()
        await everpost.wait_until_ended(task_id)
        return found

    everpost.publisher.hold()
    everpost.publisher.fail_next(InvalidError("no"))
    task_id = await everpost.publish()
    monkeypatch.setattr(Jobs, "find_task", end_first)
    assert (await everpost.post_retry(task_id)).status_code == 200


async def keep_failed(stack: Stack, task_id: str, **columns: Any) -> None:
    """A row of the history."""
    row = {"task_id": task_id, "status": "failed", "data": '{"platform": 1, "account_id": "a"}', **columns}
    kit_of(stack.settings).add(Place.HISTORY, row)


async def test_a_task_in_redis_and_the_history_is_retried_from_redis(everpost: Stack) -> None:
    task = make_task(new_task_id(system_clock()))
    result = {**deserialize(job_of(task, 1)), "s": False, "r": None}
    await everpost.queue.redis.set(f"arq:result:{task.task_id}", serialize(result))
    await keep_failed(everpost, task.task_id)
    assert (await everpost.post_retry(task.task_id)).json()["source"] == "redis"


async def test_a_task_only_the_history_has_is_retried_once(everpost: Stack) -> None:
    await keep_failed(everpost, "t")
    answer = (await everpost.post_retry("t")).json()
    assert (answer["source"], answer["message"]) == ("sqlite", "Task resubmitted to arq from SQLite history")
    assert (await everpost.post_retry("t")).json()["new_task_id"] == answer["new_task_id"]
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["status"] == "success"


async def test_a_platform_that_is_gone_is_told_and_holds_up_no_other_retry(everpost: Stack) -> None:
    await keep_failed(everpost, "gone", data='{"platform": "nowhere"}')
    await keep_failed(everpost, "here")
    gone, here = await asyncio.gather(everpost.post_retry("gone"), everpost.post_retry("here"))
    assert (gone.status_code, here.status_code) == (422, 200)


async def test_a_row_whose_text_is_not_utf_8_is_retried(everpost: Stack) -> None:
    await keep_failed(everpost, "t")
    kit_of(everpost.settings).spoil_title(Place.HISTORY, "t")
    assert (await everpost.post_retry("t")).json()["source"] == "sqlite"
