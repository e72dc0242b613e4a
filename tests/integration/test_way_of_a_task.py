"""A task's way from 202 to the history, and the events on it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from everpost.publishing import (
    AuthError,
    OutcomeUnknownError,
    PublisherClass,
    PublishJob,
    PublishResult,
    RateLimitedError,
    TransientError,
)
from everpost.queue.codec import job_of
from everpost.queue.keys import queue_name
from everpost.task import attempt_rules
from everpost.task.model import Task
from everpost.task.place import Place
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")


class Panic(BaseException):
    """As pyo3 raises where Rust panics: no Exception."""


async def until_attempted(stack: Stack, count: int = 1) -> None:
    """Wait until the publisher was called `count` times."""

    async def attempted() -> bool:
        return len(stack.publisher.attempts) >= count

    await eventually(attempted, what=f"{count} attempts")


async def replay(stack: Stack, task_id: str) -> None:
    """Put a job back into Redis, as a restored dump would."""
    task = Task(task_id=task_id, task_data=b'{"platform":3}', platform="douyin", account_id="a", created_at_ms=1)
    await stack.queue.redis.delete(f"arq:result:{task_id}")
    await stack.queue.redis.set(f"arq:job:{task_id}", job_of(task, 1))
    await stack.queue.redis.zadd("arq:queue", {task_id: 1})


async def until_dropped(stack: Stack, task_id: str) -> None:
    """Wait until Redis knows nothing of a job."""

    async def gone() -> bool:
        return not await stack.queue.redis.exists(f"arq:job:{task_id}", f"arq:in-progress:{task_id}")

    await eventually(gone, what="the job's end in Redis")


async def test_a_published_task_has_its_result_its_attempt_and_its_times(everpost: Stack) -> None:
    task = await everpost.wait_until_ended(await everpost.publish(title="t", file_id=123))
    assert task["status"] == "success"
    assert task["provider_post_id"] == "post-1"
    assert task["result"] == {"media": "none: file_id 123 is unknown, published as metadata only"}
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["success"]
    times = [task[name] for name in ("created_at", "started_at", "completed_at")]
    assert all(time.endswith("Z") for time in times)
    assert times == sorted(times)


async def test_a_transient_error_is_tried_again_automatically_and_both_attempts_are_kept(everpost: Stack) -> None:
    everpost.publisher.fail_next(TransientError("502"))
    task = await everpost.wait_until_ended(await everpost.publish())
    assert task["status"] == "success"
    assert [(a["number"], a["outcome"], a.get("error_class")) for a in task["attempts"]] == [
        (1, "retry", "transient"), (2, "success", None),
    ]  # fmt: skip
    keys = {job.idempotency_key for job in everpost.publisher.attempts}
    assert len(keys) == 1  # an automatic rerun is the same effect to the platform


async def test_of_many_rate_limits_the_first_and_the_last_are_listed_and_none_spends_an_attempt(
    everpost: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_rules, "RATE_LIMIT_FLOOR_S", 0.001)
    limits = [RateLimitedError("slow down", retry_after_s=0.01) for _ in range(6)]
    everpost.publisher.fail_next(*limits, TransientError("502"), *limits[:3])
    task_id = await everpost.publish()
    task = await everpost.wait_until_ended(task_id)
    assert task["status"] == "success"
    assert [(one["number"], one.get("error_class"), one.get("omitted", 0)) for one in task["attempts"]] == [
        (1, "rate_limited", 0), (6, "rate_limited", 4), (7, "transient", 0),
        (8, "rate_limited", 0), (10, "rate_limited", 1), (11, None, 0),
    ]  # fmt: skip
    pauses = [one["paused_s"] for one in task["attempts"] if "paused_s" in one]
    assert pauses == sorted(pauses)
    listed = (await everpost.client.get("/api/v1/tasks", params={"status": "success"})).json()["data"]
    assert [row["attempts"] for row in listed] == [11]


async def test_a_platform_that_limits_rates_without_end_ends_the_task_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_rules, "RATE_LIMIT_FLOOR_S", 0.05)
    platforms = tmp_path / "platforms.toml"
    platforms.write_text("[platforms.xiaohongshu]\nrate_limit_deadline_s = 1\n")
    async with everpost_stack(platforms=platforms) as stack:
        stack.publisher.fail_when(lambda _: RateLimitedError("slow down", retry_after_s=0.01))
        task_id = await stack.publish()
        task = await stack.wait_until_ended(task_id)
        listed = (await stack.client.get("/api/v1/tasks", params={"status": "failed"})).json()["data"]
    made = len(stack.publisher.attempts)
    assert (task["status"], task["error_class"]) == ("failed", "rate_limited")
    assert task["error_message"] == f"slow down (given up after {made} attempts and 1 s of waiting)"
    assert made <= 8
    assert [one["number"] for one in task["attempts"]] == [1, made - 1, made]
    assert [row["attempts"] for row in listed] == [made]


async def test_attempts_are_limited() -> None:
    async with everpost_stack(max_attempts=1) as stack:
        stack.publisher.fail_when(lambda _: TransientError("502"))
        task = await stack.wait_until_ended(await stack.publish())
    assert (task["status"], task["error_class"], len(task["attempts"])) == ("failed", "transient", 1)


@pytest.mark.parametrize(
    ("error", "status", "error_class"),
    [
        (AuthError("cookie expired"), "failed", "auth"),
        (OutcomeUnknownError("cut off"), "unknown", "unknown"),
        (RuntimeError("a defect in a publisher that declares nothing"), "unknown", "unknown"),
        (Panic("a defect in a library written in Rust"), "unknown", "unknown"),
    ],
)
async def test_an_error_s_class_decides_how_the_task_ends(
    everpost: Stack, error: BaseException, status: str, error_class: str
) -> None:
    everpost.publisher.fail_next(error)
    task = await everpost.wait_until_ended(await everpost.publish())
    assert (task["status"], task["error_class"]) == (status, error_class)
    assert str(error) in task["error_message"]


async def test_a_post_is_looked_for_after_a_base_exception_and_a_look_up_may_raise_one_too() -> None:
    async with everpost_stack(publisher=PublisherDouble(PublisherClass.CHECKABLE), max_attempts=1) as stack:
        stack.publisher.fail_next(Panic("mid-send"), Panic("mid-send"))
        task = await stack.wait_until_ended(await stack.publish())
        assert (task["status"], task["error_class"]) == ("failed", "transient")  # it was not found
        stack.publisher.fail_look_ups(Panic("the look-up's own"))
        task = await stack.wait_until_ended(await stack.publish())
        assert task["status"] == "unknown"
        assert "mid-send (a look-up failed: Panic: the look-up's own)" in task["error_message"]


async def test_a_publisher_that_hangs_is_cut_off_and_its_outcome_is_unknown() -> None:
    async with everpost_stack(job_timeout=0.1) as stack:
        stack.publisher.hold()
        task = await stack.wait_until_ended(await stack.publish())
    assert task["status"] == "unknown"
    assert "did not answer within 0.1 s" in task["error_message"]


async def test_a_shutdown_mid_send_ends_as_unknown_unless_a_rerun_does_no_harm() -> None:
    for publisher_class, status in ((PublisherClass.NONE, "unknown"), (PublisherClass.LOCAL, "success")):
        async with everpost_stack(publisher=PublisherDouble(publisher_class)) as stack:
            stack.publisher.hold()
            task_id = await stack.publish()
            await until_attempted(stack)
            await stack.stop_workers()
            stack.publisher.release()
            await stack.start_worker()
            assert (await stack.wait_until_ended(task_id))["status"] == status
            assert stack.publisher.times_published(task_id) == (status == "success")


async def test_a_job_that_is_redelivered_after_its_intent_is_not_sent_again(everpost: Stack) -> None:
    """The worker died after its first byte may have left; Redis lost even the try counter."""
    await everpost.stop_workers()
    task_id = await everpost.publish()
    assert await everpost.store.ledger.begin_send(task_id, 1, 1)
    await everpost.start_worker()
    task = await everpost.wait_until_ended(task_id)
    assert task["status"] == "unknown"
    assert everpost.publisher.attempts == []


async def test_a_job_restored_from_an_old_dump_after_its_task_ended_is_dropped(everpost: Stack) -> None:
    task_id = await everpost.publish()
    await everpost.wait_until_ended(task_id)
    await replay(everpost, task_id)
    await everpost.wait_until_ended(await everpost.publish())  # a claim has happened since
    await until_dropped(everpost, task_id)
    assert everpost.publisher.times_published(task_id) == 1


async def test_a_cancelled_task_whose_job_comes_back_is_not_published(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish()
    assert (await everpost.client.post(f"/api/v1/tasks/cancel/{task_id}")).status_code == 200
    await replay(everpost, task_id)
    await everpost.start_worker()
    await until_dropped(everpost, task_id)
    assert everpost.publisher.attempts == []
    assert (await everpost.task(task_id))["status"] == "cancelled"


async def test_a_task_whose_redis_copy_vanished_before_it_ran_still_runs(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish(title="orphan")
    await everpost.flush_redis()
    await everpost.start_worker()
    assert (await everpost.wait_until_ended(task_id))["status"] == "success"


async def test_a_payload_that_vanished_alone_comes_back_from_the_ledger(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish(title="evicted")
    await everpost.queue.redis.delete(f"arq:job:{task_id}")
    await everpost.start_worker()
    assert (await everpost.wait_until_ended(task_id))["status"] == "success"


async def test_tasks_are_accepted_while_redis_is_down_and_run_when_it_is_back() -> None:
    async with everpost_stack() as stack:
        assert stack.valkey.child is not None
        stack.valkey.child.kill()
        task_ids = [await stack.publish(title=str(n)) for n in range(5)]
        await stack.valkey.start()
        for task_id in task_ids:
            assert (await stack.wait_until_ended(task_id, timeout_s=30))["status"] == "success"


async def test_flushall_while_a_task_runs_neither_loses_nor_repeats_it() -> None:
    async with everpost_stack(workers=2, publisher=PublisherDouble(PublisherClass.LOCAL)) as stack:
        stack.publisher.hold()
        task_id = await stack.publish()
        await until_attempted(stack)
        await stack.flush_redis()

        async def is_held_again() -> bool:
            return bool(await stack.queue.redis.exists(f"arq:in-progress:{task_id}"))

        await eventually(is_held_again, what="the lease")
        other = await stack.publish(title="after the flush")  # a relay's turn and a claim come and go
        await until_attempted(stack, 2)
        stack.publisher.release()
        for ended in (task_id, other):
            assert (await stack.wait_until_ended(ended))["status"] == "success"
        assert len(stack.publisher.attempts) == 2


async def test_rows_inherited_from_an_original_file_are_never_run_on_their_own(everpost: Stack) -> None:
    kit = kit_of(everpost.settings)
    kit.add(Place.LEDGER, {"task_id": "old", "data": "{}"})
    await everpost.flush_redis()  # makes every relay look at every row

    async def is_reconciled() -> bool:
        return kit.get_meta("epoch") is not None

    await eventually(is_reconciled, what="a reconciliation")
    await everpost.wait_until_ended(await everpost.publish())
    assert len(everpost.publisher.attempts) == 1
    assert [task.status for task in kit.tasks() if task.place is Place.LEDGER] == ["pending"]


async def test_the_more_urgent_task_goes_first_and_the_less_urgent_one_is_not_forgotten() -> None:
    async with everpost_stack(workers=0, max_jobs=1) as stack:
        later = [await stack.publish(priority=9) for _ in range(3)]
        urgent = [await stack.publish(priority=0) for _ in range(3)]
        assert await stack.queue.redis.zcard(queue_name(9)) == 3
        await stack.start_worker()
        await stack.drain()
    assert [job.task_id for job in stack.publisher.published][:3] == urgent
    assert {job.task_id for job in stack.publisher.published} == {*urgent, *later}


async def test_a_scheduled_task_waits_for_its_time(everpost: Stack) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    task_id = await everpost.publish(schedule_time=soon.isoformat())
    assert (await everpost.task(task_id))["status"] == "scheduled"
    task = await everpost.wait_until_ended(task_id)
    assert task["status"] == "success"
    assert datetime.fromisoformat(task["started_at"]) >= soon - timedelta(milliseconds=1)


async def test_a_task_that_kills_its_workers_is_given_up_on(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish()
    await everpost.queue.redis.set(f"arq:retry:{task_id}", 3)  # three workers claimed it and died
    await everpost.start_worker()
    task = await everpost.wait_until_ended(task_id)
    assert (task["status"], task["error_class"]) == ("unknown", "crashed")
    assert everpost.publisher.attempts == []


async def test_a_hundred_tasks_at_once_all_reach_the_platform_once(everpost: Stack) -> None:
    task_ids = await asyncio.gather(*(everpost.publish(title=str(n)) for n in range(100)))
    await everpost.drain()
    published = [job.task_id for job in everpost.publisher.published]
    assert sorted(published) == sorted(task_ids)


async def test_a_publisher_sees_what_the_client_sent(everpost: Stack) -> None:
    sent = {"platform": "Douyin", "account_id": "a", "title": "t", "anything": {"else": [1.5, None]}, "priority": 1}
    await everpost.wait_until_ended(await everpost.publish(**sent))
    (job,) = everpost.publisher.published
    assert isinstance(job, PublishJob)
    assert job.data == sent
    assert job.platform.name == "douyin"


async def test_a_publisher_may_return_the_same_result_for_every_task() -> None:
    class Constant(PublisherDouble):
        RESULT = PublishResult()

        async def publish(self, job: PublishJob) -> PublishResult:
            await super().publish(job)
            return self.RESULT

    async with everpost_stack(publisher=Constant()) as stack:
        for file_id in (1, 2):
            task = await stack.wait_until_ended(await stack.publish(file_id=file_id))
            assert task["result"] == {"media": f"none: file_id {file_id} is unknown, published as metadata only"}
