"""Waiting tasks are edited in place: a worker sends one version, and no acknowledged edit is lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from api_support import assert_problem
from everpost.clock import system_clock, to_text
from everpost.queue.keys import WITHDRAWALS_KEY, queue_name
from everpost.task.model import Attempt, ErrorClass, TaskStatus
from everpost.testing import Stack, eventually, everpost_stack

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

LATER = "2030-05-04T18:00:00+02:00"
HOUR_MS = 3_600_000


@pytest.fixture
async def idle() -> AsyncIterator[Stack]:
    """Everything but a worker."""
    async with everpost_stack(workers=0) as stack:
        yield stack


async def patch(stack: Stack, task_id: str, body: Any, **parameters: str) -> httpx.Response:
    return await stack.client.patch(f"/api/v1/tasks/{task_id}", json=body, params=parameters)


async def edited(stack: Stack, task_id: str, body: Any, **parameters: str) -> dict[str, Any]:
    answer = await patch(stack, task_id, body, **parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_scheduled_task_is_edited_and_published_in_its_new_version(idle: Stack) -> None:
    task_id = await idle.publish(title="old", tags=["a"], kept={"x": 1}, schedule_time=LATER)
    answer = await edited(
        idle, task_id, {"title": "new", "tags": None, "schedule_time": None, "priority": 2}, by="mei", why="typo"
    )
    assert (answer["edited"], answer["status"]) == (True, "pending")
    task = await idle.task(task_id)
    assert task["task_data"] == {
        "platform": 1, "account_id": "account", "title": "new", "kept": {"x": 1}, "priority": 2,
    }  # fmt: skip
    assert (task["title"], task["priority"], task["due_at"]) == ("new", 2, None)
    (kept,) = task["edits"]
    assert kept["before"] == {"title": "old", "tags": ["a"], "schedule_time": LATER}
    assert kept["patch"] == {"title": "new", "tags": None, "schedule_time": None, "priority": 2}
    assert (kept["edited_by"], kept["why"]) == ("mei", "typo")
    await idle.start_worker()
    ended = await idle.wait_until_ended(task_id)
    assert (ended["status"], len(ended["edits"])) == ("success", 1)
    assert [call.data["title"] for call in idle.publisher.published] == ["new"]


async def test_a_task_is_rescheduled_and_moved_to_another_queue(idle: Stack) -> None:
    task_id = await idle.publish()
    answer = await edited(idle, task_id, {"schedule_time": LATER, "priority": 0})
    assert (answer["status"], answer["due_at"]) == ("scheduled", "2030-05-04T16:00:00.000Z")
    redis = idle.queue.redis
    assert await redis.zscore(queue_name(0), task_id) == 1_904_140_800_000
    assert await redis.zscore(queue_name(5), task_id) is None
    assert await redis.zcard(WITHDRAWALS_KEY) == 0
    assert await redis.exists(f"everpost:withdrawn:{task_id}") == 0
    assert (await idle.task(task_id))["status"] == "scheduled"


async def test_a_job_with_an_outdated_time_in_redis_does_not_run_early(idle: Stack) -> None:
    """An enqueue of the old version may come late."""
    task_id = await idle.publish()
    await edited(idle, task_id, {"schedule_time": LATER})
    await idle.queue.redis.zadd(queue_name(5), {task_id: 1})
    await idle.start_worker()

    async def is_back() -> bool:
        return bool(await idle.queue.redis.zscore(queue_name(5), task_id) == 1_904_140_800_000)

    await eventually(is_back, what="the job's return to its time")
    assert (await idle.task(task_id))["attempts"] == []
    await edited(idle, task_id, {"schedule_time": None})
    assert (await idle.wait_until_ended(task_id))["status"] == "success"


WRONG_PATCHES: Sequence[Any] = (
    ([], 422, "invalid_value", "$"),
    ({}, 422, "invalid_value", "$"),
    ({"title": 5}, 422, "invalid_value", "$.title"),
    ({"account_id": None}, 422, "invalid_value", "$"),
    ({"platform": "nowhere"}, 422, "unknown_platform", "$.platform"),
    ({"schedule_time": "soon"}, 422, "invalid_value", "$.schedule_time"),
    ({"x": "a\0b"}, 422, "invalid_value", "$.x"),
    ({"priority": None, "late_after_s": -1}, 422, "invalid_value", "$.late_after_s"),
)


async def test_an_invalid_patch_changes_nothing(idle: Stack) -> None:
    task_id = await idle.publish()
    before = await idle.task(task_id)
    for body, status, code, path in WRONG_PATCHES:
        assert_problem(await patch(idle, task_id, body), status, code, path)
        assert await idle.task(task_id) == before
        assert await idle.queue.redis.exists(f"arq:job:{task_id}") == 1


async def test_what_does_not_wait_is_not_edited(idle: Stack) -> None:
    assert_problem(await patch(idle, "nowhere", {"title": "x"}), 404, "task_not_found")
    idle.publisher.hold()
    running = await idle.publish()
    await idle.start_worker()
    await eventually(lambda: _is_called(idle), what="the call of the publisher")
    assert_problem(await patch(idle, running, {"title": "x"}), 409, "task_running")
    idle.publisher.release()
    await idle.wait_until_ended(running)
    assert_problem(await patch(idle, running, {"title": "x"}), 409, "task_ended")


async def test_an_edit_that_changes_nothing_is_not_kept(idle: Stack) -> None:
    task_id = await idle.publish(title="t")
    assert (await edited(idle, task_id, {"title": "t"}))["edited"] is False
    assert (await idle.task(task_id))["edits"] == []


async def test_simultaneous_edits_are_done_one_after_the_other(idle: Stack) -> None:
    task_id = await idle.publish()
    answers = await asyncio.gather(*(patch(idle, task_id, {f"n{number}": number}) for number in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    task = await idle.task(task_id)
    assert {f"n{number}": number for number in range(12)}.items() <= task["task_data"].items()
    assert len(task["edits"]) == 12
    await idle.start_worker()
    await idle.wait_until_ended(task_id)
    (call,) = idle.publisher.published
    assert call.data == task["task_data"]


async def test_edits_race_with_workers_and_each_is_sent_or_refused(idle: Stack) -> None:
    task_ids = [await idle.publish(title="old") for _ in range(30)]
    editing = [asyncio.create_task(patch(idle, task_id, {"title": "new"})) for task_id in task_ids]
    await idle.start_worker()
    answers = await asyncio.gather(*editing)
    await idle.drain()
    sent = {call.task_id: call.data["title"] for call in idle.publisher.published}
    assert len(idle.publisher.published) == 30
    for task_id, answer in zip(task_ids, answers, strict=True):
        if answer.status_code == 200:
            assert sent[task_id] == "new"
        else:
            assert answer.json()["code"] in {"task_running", "task_ended"}
            assert sent[task_id] == "old"


@pytest.mark.chaos
async def test_an_edit_and_a_cancel_at_once_leave_no_job_of_a_cancelled_task(idle: Stack) -> None:
    for _ in range(5):
        task_id = await idle.publish()
        edit, cancel = await asyncio.gather(
            patch(idle, task_id, {"title": "new"}), idle.client.post(f"/api/v1/tasks/cancel/{task_id}")
        )
        assert cancel.status_code == 200, cancel.text
        assert edit.status_code in {200, 409}, edit.text
        assert (await idle.task(task_id))["status"] == "cancelled"
        assert await idle.queue.redis.exists(f"arq:job:{task_id}") == 0


async def test_an_edit_that_meets_a_cancel_learns_at_once_that_the_task_has_ended(idle: Stack) -> None:
    task_id = await idle.publish(title="old")
    await idle.queue.jobs.withdraw_task(task_id)  # as far as a cancel has come when the edit meets it
    before = await _scripts_run(idle)
    edit = asyncio.create_task(patch(idle, task_id, {"title": "new"}))

    async def has_asked_twice() -> bool:
        return await _scripts_run(idle) >= before + 2

    await eventually(has_asked_twice, what="the edit's wait for the job")
    answer = await idle.client.post(f"/api/v1/tasks/cancel/{task_id}")
    assert answer.status_code == 200, answer.text
    async with asyncio.timeout(2):
        assert_problem(await edit, 409, "task_ended")


async def test_an_edit_and_a_retry_at_once_leave_one_task(idle: Stack) -> None:
    for _ in range(5):
        task_id = await idle.publish(title="old")
        edit, retry = await asyncio.gather(patch(idle, task_id, {"title": "new"}), idle.post_retry(task_id))
        assert retry.status_code == 200, retry.text
        title = (await idle.task(retry.json()["new_task_id"]))["title"]
        assert title == "new" or edit.status_code == 409 or (await idle.task(task_id))["title"] == "new"
        assert await idle.queue.redis.exists(f"arq:job:{task_id}") == 0
    assert await idle.store.ledger.count_unfinished() == 5


async def test_nothing_is_edited_while_redis_is_away(idle: Stack) -> None:
    task_id = await idle.publish(title="old")
    await idle.valkey.stop()
    assert_problem(await patch(idle, task_id, {"title": "new"}), 503, "queue_unreachable")
    assert (await idle.task(task_id))["title"] == "old"


async def test_many_tasks_are_edited_by_a_filter_and_by_ids(idle: Stack) -> None:
    task_ids = [await idle.publish(title=f"t{number}", schedule_time=LATER) for number in range(5)]
    await idle.publish(account_id="other", schedule_time=LATER)
    bulk = {"filter": {"account_id": "account"}, "data": {"priority": 3}, "by": "mei"}
    dry = await idle.client.post("/api/v1/tasks/batch/edit", json={**bulk, "dry_run": True})
    assert (dry.json()["succeeded"], (await idle.task(task_ids[0]))["priority"]) == (5, 5)
    answer = await idle.client.post("/api/v1/tasks/batch/edit", json=bulk)
    assert (answer.json()["succeeded"], answer.json()["message"]) == (5, "5 of 5 tasks edited")
    assert {(await idle.task(task_id))["priority"] for task_id in task_ids} == {3}
    body = {"task_ids": [*task_ids[:2], "nowhere"]}
    now = (await idle.client.post("/api/v1/tasks/batch/publish-now", json=body)).json()
    assert (now["succeeded"], [skip["code"] for skip in now["errors"]]) == (2, ["task_not_found"])
    assert [(await idle.task(task_id))["status"] for task_id in task_ids[:3]] == ["pending", "pending", "scheduled"]
    await idle.start_worker()
    for task_id in task_ids[:2]:
        assert (await idle.wait_until_ended(task_id))["status"] == "success"


async def test_a_task_that_waits_for_its_next_attempt_is_published_now(idle: Stack) -> None:
    task_id = await idle.publish()
    await idle.store.ledger.defer(task_id, _failed_attempt(), system_clock() + HOUR_MS, spent=True)
    await idle.queue.redis.zadd(queue_name(5), {task_id: system_clock() + HOUR_MS})
    await idle.queue.redis.set(f"arq:retry:{task_id}", 1)
    answer = await idle.client.post(f"/api/v1/tasks/{task_id}/publish-now")
    assert answer.json()["status"] == "pending", answer.text
    await idle.start_worker()
    ended = await idle.wait_until_ended(task_id)
    assert [attempt["number"] for attempt in ended["attempts"]] == [1, 2]


async def _scripts_run(stack: Stack) -> int:
    commands: dict[str, Any] = await stack.queue.redis.info("commandstats")
    return int(commands["cmdstat_evalsha"]["calls"])


async def _is_called(stack: Stack) -> bool:
    return bool(stack.publisher.attempts)


def _failed_attempt() -> Attempt:
    now = to_text(system_clock())
    return Attempt(
        number=1, started_at=now, finished_at=now, outcome=TaskStatus.RETRY, error_class=ErrorClass.TRANSIENT, error="x"
    )
