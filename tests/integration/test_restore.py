"""After a restore the stack starts paused, reports what it knows, and sends nothing twice."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from everpost.clock import system_clock, to_text
from everpost.store import maintenance_of
from everpost.store.operations import Operation, OperationStatus
from everpost.store.pause import Pause
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from store_kit import kit_of
from store_rows import START_MS, begin

HOUR_MS = 3_600_000
RESUME = "/api/v1/dispatch/resume"


def restore(folder: Path) -> Pause:
    return maintenance_of(str(folder / "everpost.db")).restore(folder / "backup.db", system_clock())


@asynccontextmanager
async def restored(folder: Path, *, workers: int = 1, **given: Any) -> AsyncIterator[Stack]:
    """A stack on the folder's backup, and on whatever Valkey left there."""
    restore(folder)
    async with everpost_stack(folder=folder, workers=0, durable=True, **given) as stack:
        for _ in range(workers):
            await stack.start_worker()
        yield stack


async def back_up(stack: Stack) -> None:
    maintenance = maintenance_of(stack.settings.database_address)
    await asyncio.to_thread(maintenance.back_up, stack.settings.data / "backup.db")


async def statuses(stack: Stack) -> dict[str | None, str]:
    """What every task has become, by title."""
    return {task.title: task.status for task in kit_of(stack.settings).tasks()}


async def resume(stack: Stack, **parameters: Any) -> dict[str, Any]:
    answer = await stack.client.post(RESUME, params=parameters)
    assert answer.status_code == 200, answer.text
    resumed: dict[str, Any] = answer.json()["resumed"]
    return resumed


async def checks(stack: Stack) -> dict[str, Any]:
    answer = await stack.client.get("/health/ready")
    return {check["name"]: check for check in answer.json()["checks"]}


def idle_worker(stack: Stack) -> Any:
    async def is_paused() -> bool:
        return any(worker["paused"] for worker in await stack.queue.workers.living())

    return eventually(is_paused, what="a worker that says it is paused")


@asynccontextmanager
async def backed_up(folder: Path) -> AsyncIterator[Stack]:
    """A stack whose backup holds an ended, a sent-but-unanswered, a waiting and a scheduled task."""
    publisher = PublisherDouble()
    async with everpost_stack(folder=folder, durable=True, publisher=publisher, max_jobs=1) as stack:
        await stack.wait_until_ended(await stack.publish(title="ended"))
        publisher.hold()
        await stack.publish(title="sending")

        async def is_sending() -> bool:
            return len(publisher.attempts) == 2

        await eventually(is_sending, what="the second attempt")
        await stack.publish(title="waiting")
        await stack.publish(title="scheduled", schedule_time=to_text(system_clock() + HOUR_MS))
        await back_up(stack)
        publisher.release()
        yield stack


async def test_a_restored_stack_accepts_tasks_and_sends_none_until_it_is_resumed(tmp_path: Path) -> None:
    async with backed_up(tmp_path):
        pass
    shutil.rmtree(tmp_path / "valkey")
    async with restored(tmp_path) as stack:
        await idle_worker(stack)
        new_id = await stack.publish(title="new")
        assert await statuses(stack) == {
            "ended": "success",
            "sending": "unknown",
            "waiting": "pending",
            "scheduled": "scheduled",
            "new": "pending",
        }
        dispatch = (await stack.client.get("/api/v1/dispatch")).json()
        pause = dispatch["pause"]
        assert (dispatch["paused"], dispatch["held"]) == (True, 1)
        assert (pause["ended"], pause["sending"], pause["held"], pause["scheduled"]) == (2, 1, 1, 1)
        assert (await checks(stack))["dispatch"]["ok"] is False
        assert "1 are held" in (await checks(stack))["dispatch"]["detail"]
        await stack.stop_workers()
        await stack.start_worker()
        await idle_worker(stack)
        assert stack.publisher.attempts == []

        assert await resume(stack) == {"pause": pause, "succeeded": 0, "unknown": 1, "released": 0, "recovered": 0}
        await stack.wait_until_ended(new_id)
        assert (await statuses(stack))["waiting"] == "unknown"
        assert (await statuses(stack))["scheduled"] == "scheduled"
        assert [job.data["title"] for job in stack.publisher.attempts] == ["new"]
        assert (await checks(stack))["dispatch"]["ok"] is True
        assert (await resume(stack))["pause"] is None


async def test_held_tasks_run_when_a_person_says_so(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        task_id = await stack.publish(title="waiting")
        await back_up(stack)
    async with restored(tmp_path) as stack:
        await idle_worker(stack)
        for verb in ("retry", "cancel"):
            refused = await stack.client.post(f"/api/v1/tasks/{verb}/{task_id}", params={"force": "true"})
            assert (refused.status_code, refused.json()["code"]) == (409, "task_held")
        assert (await resume(stack, unfinished="run", dry_run=True))["released"] == 1
        assert (await checks(stack))["dispatch"]["ok"] is False
        assert (await resume(stack, unfinished="run"))["released"] == 1
        assert (await stack.wait_until_ended(task_id))["status"] == "success"
        assert stack.publisher.times_published(task_id) == 1


async def test_a_redis_newer_than_the_backup_knows_outcomes_and_tasks_the_backup_does_not(
    tmp_path: Path,
) -> None:
    async with backed_up(tmp_path) as stack:
        later = await stack.publish(title="later")
        await stack.wait_until_ended(later)
        await stack.stop_workers()
        await stack.publish(title="queued")
    async with restored(tmp_path) as stack:
        await idle_worker(stack)
        foreseen = await resume(stack, dry_run=True)
        assert (foreseen["succeeded"], foreseen["unknown"], foreseen["recovered"]) == (1, 0, 2)
        assert await resume(stack) == foreseen
        assert await statuses(stack) == {
            "ended": "success",
            "sending": "unknown",
            "waiting": "success",
            None: "success",  # the later one: a success's result has no data
            "queued": "unknown",
            "scheduled": "scheduled",
        }
        assert ((await stack.task(later))["status"], (await stack.task(later))["provider_post_id"]) == (
            "success",
            "post-4",
        )
        await stack.publish(title="new")
        await eventually(lambda: is_published(stack, "new"), what="the new task")
        assert [job.data["title"] for job in stack.publisher.attempts] == ["new"]


async def is_published(stack: Stack, title: str) -> bool:
    return any(job.data["title"] == title for job in stack.publisher.published)


async def test_without_redis_dispatch_stays_paused_because_redis_may_know_better(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        await stack.publish()
        await back_up(stack)
    async with restored(tmp_path, workers=0) as stack:
        assert stack.valkey.child is not None
        await stack.valkey.child.stop()
        answer = await stack.client.post(RESUME)
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_unreachable")
        assert (await stack.client.get("/api/v1/dispatch")).json()["held"] == 1
        await stack.valkey.start()

        async def resumed() -> Any:
            answer = await stack.client.post(RESUME)
            return answer.json().get("resumed")  # none until the API has found out that Redis is back

        assert (await eventually(resumed, what="dispatch"))["unknown"] == 1


async def test_bulk_work_of_the_backup_is_not_done_a_second_time(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        operation = Operation(
            operation_id="o",
            kind="retry",
            request="{}",
            status=OperationStatus.RUNNING,
            total=9,
            position="",
            owner="a process of before",
            created_at=to_text(START_MS),
            updated_at=to_text(START_MS),
        )
        await begin(stack.store, operation)
        await back_up(stack)
    async with restored(tmp_path, workers=0) as stack:
        found = await stack.store.operations.find("o")
        assert found is not None
        given_up, _ = found
        assert (given_up.status, given_up.owner) == (OperationStatus.FAILED, None)


async def test_recurring_posts_of_the_backup_make_nothing_before_a_person_resumes_them(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        body = {"name": "r", "cron": "* * * * *", "data": {"platform": 1, "account_id": "a"}}
        assert (await stack.client.post("/api/v1/recurring", json=body)).status_code == 201
        await back_up(stack)
    async with restored(tmp_path, workers=0) as stack:
        (found,) = (await stack.client.get("/api/v1/recurring")).json()["data"]
        assert (found["status"], found["reason"], found["next_at"]) == ("paused", "restored", None)
        resumed = (await stack.client.post("/api/v1/recurring/r/resume")).json()["data"]
        assert (resumed["status"], resumed["next_at"] is None) == ("active", False)
