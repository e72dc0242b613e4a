"""The defects of the original system, each with a test of its own."""

import asyncio
from typing import Any

from everpost.publishing import InvalidError, PublishJob
from everpost.task.place import Place
from everpost.task.retry_plan import REBUILT
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of

ORIGINALS_TASK: dict[str, Any] = {
    "platform": 1,
    "account_id": "test_account",
    "file_id": 123,
    "title": "测试视频",
    "description": "这是描述",
    "tags": ["测试", "视频"],
}


async def failed_task(stack: Stack, **fields: Any) -> str:
    """A task that has failed for good."""
    stack.publisher.fail_next(InvalidError("the platform says no"))
    task_id = await stack.publish(**fields)
    assert (await stack.wait_until_ended(task_id))["status"] == "failed"
    return task_id


async def test_defect_1_the_real_priority_is_recorded_and_a_retry_keeps_it(everpost: Stack) -> None:
    task_id = await failed_task(everpost, priority=2)
    await everpost.flush_redis()
    answer = (await everpost.post_retry(task_id)).json()
    task = await everpost.wait_until_ended(answer["new_task_id"])
    assert [(await everpost.task(ended))["priority"] for ended in (task_id, task["task_id"])] == [2, 2]


async def test_defect_2_a_successful_task_is_not_published_again(everpost: Stack) -> None:
    task_id = await everpost.publish(title="once")
    await everpost.wait_until_ended(task_id)
    await everpost.flush_redis()
    answer = await everpost.post_retry(task_id)
    assert answer.status_code == 409
    assert answer.json()["code"] == "task_succeeded"
    assert everpost.publisher.times_published(task_id) == 1


async def test_defect_3_corrupt_task_data_is_rebuilt_with_the_warning(everpost: Stack) -> None:
    row = {"task_id": "corrupt", "platform": "1", "account_id": "a", "title": "t", "status": "failed"}
    kit_of(everpost.settings).add(Place.HISTORY, {**row, "data": '{"platform": 1,'})
    answer = (await everpost.post_retry("corrupt")).json()
    assert answer["source"] == "sqlite"
    assert answer["warning"] == REBUILT


async def test_defect_4_a_rebuilt_task_keeps_schedule_time_and_publish_mode(everpost: Stack) -> None:
    row = {"task_id": "old", "platform": "3", "account_id": "a", "material_id": "77", "title": "旧", "tags": '["x"]'}
    row |= {"status": "failed", "schedule_time": "2020-01-01 08:00", "publish_mode": "manual"}
    kit_of(everpost.settings).add(Place.HISTORY, row)
    answer = (await everpost.post_retry("old")).json()
    task = await everpost.wait_until_ended(answer["new_task_id"])
    assert task["task_data"] == {
        "platform": 3, "account_id": "a", "file_id": 77, "title": "旧", "description": "", "tags": ["x"],
        "schedule_time": "2020-01-01 08:00", "publish_mode": "manual",
    }  # fmt: skip


async def test_defect_5_batch_retry_finds_tasks_in_publish_tasks_and_takes_a_filter(everpost: Stack) -> None:
    task_ids = [await failed_task(everpost, platform=4, title=str(n)) for n in range(3)]
    await everpost.flush_redis()
    answer = await everpost.client.post(
        "/api/v1/tasks/batch/retry",
        json={"filter": {"status": "failed", "platform": 4, "created_after": "2026-01-01"}},
    )
    assert answer.json()["success_count"] == len(task_ids)
    for new_task_id in answer.json()["new_task_ids"]:
        assert (await everpost.wait_until_ended(new_task_id))["retry_of"] in task_ids


async def test_defect_6_simultaneous_retries_make_one_task(everpost: Stack) -> None:
    task_id = await failed_task(everpost)
    answers = await asyncio.gather(*(everpost.post_retry(task_id) for _ in range(100)))
    new_ids = {answer.json()["new_task_id"] for answer in answers if answer.status_code == 200}
    assert len(new_ids) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}  # 409: the retry had succeeded already
    await everpost.drain()
    assert len(everpost.publisher.published) == 1


async def test_defect_7_a_history_write_that_fails_is_tried_until_it_holds() -> None:
    async with everpost_stack() as stack:
        stack.publisher.hold()
        task_id = await stack.publish(title="durable")
        await _until_attempted(stack)
        with kit_of(stack.settings).locked():
            stack.publisher.release()
            await _until_published(stack)
            assert kit_of(stack.settings).count(Place.HISTORY) == 0
        assert (await stack.wait_until_ended(task_id, timeout_s=30))["status"] == "success"
        assert stack.publisher.times_published(task_id) == 1


async def test_defect_8_completed_at_is_set_and_every_row_has_its_own_priority(everpost: Stack) -> None:
    for priority in (0, 9):
        task = await everpost.wait_until_ended(await everpost.publish(priority=priority))
        assert task["priority"] == priority
        assert task["completed_at"] >= task["started_at"]
        assert task["published_at"] is not None


async def test_defect_9_the_retry_of_a_pending_task_withdraws_the_queued_job(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish(title="moved")
    answer = (await everpost.post_retry(task_id)).json()
    await everpost.start_worker()
    assert (await everpost.wait_until_ended(answer["new_task_id"]))["status"] == "success"
    await everpost.drain()
    assert [job.task_id for job in everpost.publisher.published] == [answer["new_task_id"]]
    assert (await everpost.task(task_id))["status"] == "cancelled"


async def test_defect_10_clearing_reads_in_chunks_and_has_no_limit(everpost: Stack) -> None:
    rows, kit = 2_500, kit_of(everpost.settings)
    kit.add(Place.HISTORY, *({"task_id": f"old{i}", "platform": "1", "status": "failed"} for i in range(rows)))
    answer = await everpost.client.post("/api/v1/tasks/clear/failed")
    assert answer.status_code in {200, 202}, answer.text

    async def cleared() -> bool:
        return (kit.count(Place.HISTORY), kit.count(Place.ARCHIVE)) == (0, rows)

    await eventually(cleared, what="every failed task in the archive")


async def test_defect_11_a_task_and_its_retry_are_linked_both_ways(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **ORIGINALS_TASK)
    new_task_id = (await everpost.post_retry(task_id)).json()["new_task_id"]
    retried = await everpost.wait_until_ended(new_task_id)
    assert retried["retry_of"] == task_id
    assert [retry["task_id"] for retry in (await everpost.task(task_id))["retries"]] == [new_task_id]


async def _until_attempted(stack: Stack) -> None:
    async def attempted() -> list[PublishJob]:
        return stack.publisher.attempts

    await eventually(attempted, what="an attempt")


async def _until_published(stack: Stack) -> None:
    async def published() -> list[PublishJob]:
        return stack.publisher.published

    await eventually(published, what="the publication")
