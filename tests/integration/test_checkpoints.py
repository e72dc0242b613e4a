"""Checkpoints and progress on the way of a task: through crashes, stops, takeovers and ends, to the people who ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from everpost.publishing import (
    NotFound,
    OutcomeUnknownError,
    OvertakenError,
    PublisherClass,
    PublishJob,
    PublishResult,
    TransientError,
)
from everpost.task import attempt_rules
from everpost.task.model import TaskRecord, TaskStatus
from everpost.task.place import Place
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from everpost_workers import publish_worker
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

Step = Callable[[PublishJob], Awaitable[None]]


class Uploader(PublisherDouble):
    """Calls `step` before it accepts a job, and notes what each call was given."""

    def __init__(self, step: Step, publisher_class: PublisherClass = PublisherClass.CHECKABLE) -> None:
        super().__init__(publisher_class)
        self.step = step
        self.saved: list[Any] = []

    async def publish(self, job: PublishJob) -> PublishResult:
        self.saved.append(job.saved)
        await self.step(job)
        return await super().publish(job)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        self.saved.append(("asked", job.saved))
        return await super().look_up(job)


@asynccontextmanager
async def stack_of(
    step: Step, publisher_class: PublisherClass, **settings: Any
) -> AsyncIterator[tuple[Stack, Uploader]]:
    uploader = Uploader(step, publisher_class)
    async with everpost_stack(publisher=uploader, **settings) as stack:
        yield stack, uploader


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_rules, "BACKOFF_BASE_S", 0.01)
    monkeypatch.setattr(publish_worker, "TICK_S", 0.05)


async def count_on(job: PublishJob) -> None:
    """Save one more than the last attempt did."""
    await job.checkpoint({"part": 1 + (job.saved or {"part": 0})["part"]})


async def until(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds)


async def test_the_next_attempt_goes_on_where_the_last_one_stopped_and_the_task_shows_it() -> None:
    async with stack_of(count_on, PublisherClass.NONE) as (stack, uploader):
        uploader.fail_next(TransientError("later"), TransientError("later"))
        task_id = await stack.publish()
        task = await stack.wait_until_ended(task_id)
        assert uploader.saved == [None, {"part": 1}, {"part": 2}]
        assert (task["checkpoint"], task["checkpoint_attempt"]) == ({"part": 3}, 3)
        await stack.client.delete(f"/api/v1/tasks/{task_id}")
        archived = await stack.task(task_id)
        assert (archived["place"], archived["checkpoint"]) == ("publish_tasks_archive", {"part": 3})
        await stack.retry(task_id, force=True)
        await stack.drain()
        assert uploader.saved[3:] == [None]  # a retry is a new task


async def test_a_look_up_after_a_lost_answer_has_the_checkpoint_of_its_own_attempt() -> None:
    async with stack_of(count_on, PublisherClass.CHECKABLE) as (stack, uploader):
        uploader.lose_next_answer()
        task = await stack.wait_until_ended(await stack.publish())
    assert (task["status"], uploader.saved) == ("success", [None, ("asked", {"part": 1})])


async def test_an_unknown_task_shows_its_checkpoint_until_a_person_decides() -> None:
    async with stack_of(count_on, PublisherClass.NONE) as (stack, uploader):
        uploader.fail_next(OutcomeUnknownError("no answer"))
        task = await stack.wait_until_ended(await stack.publish())
    assert (task["status"], task["checkpoint"]) == ("unknown", {"part": 1})


@pytest.mark.parametrize(
    "publisher_class",
    [
        PublisherClass.NONE,
        PublisherClass.CHECKABLE,
        pytest.param(PublisherClass.KEYED, marks=pytest.mark.chaos),
        pytest.param(PublisherClass.LOCAL, marks=pytest.mark.chaos),
    ],
)
async def test_a_stop_after_a_checkpoint_leaves_it_to_the_next_worker(publisher_class: PublisherClass) -> None:
    async with stack_of(count_on, publisher_class) as (stack, uploader):
        uploader.hold()
        task_id = await stack.publish()
        await until(lambda: len(uploader.attempts) == 1)
        await stack.stop_workers()
        uploader.release()
        await stack.start_worker()
        task = await stack.wait_until_ended(task_id)
    seen: dict[PublisherClass, list[Any]] = {
        PublisherClass.NONE: [None],
        PublisherClass.CHECKABLE: [None, ("asked", {"part": 1}), {"part": 1}],
    }
    assert uploader.saved == seen.get(publisher_class, [None, {"part": 1}])
    assert task["checkpoint"] == {"part": len([saved for saved in uploader.saved if not isinstance(saved, tuple)])}


async def test_an_attempt_whose_task_has_ended_is_stopped_by_its_checkpoint() -> None:
    steps: list[BaseException | str] = []

    async def save_late(job: PublishJob) -> None:
        record = TaskRecord(task_id=job.task_id, status=TaskStatus.CANCELLED, finished_at_ms=1)
        await stack.store.ledger.end([record])
        try:
            await job.checkpoint({"part": 1})
        except OvertakenError as error:
            steps.append(error)
            raise
        steps.append("went on")

    async with stack_of(save_late, PublisherClass.NONE) as (stack, uploader):
        task_id = await stack.publish()

        async def has_late_attempt() -> bool:
            return bool((await stack.task(task_id))["attempts"])

        await eventually(has_late_attempt)
        task = await stack.task(task_id)
    assert [type(step) for step in steps] == [OvertakenError]
    assert uploader.published == []
    assert (task["status"], task["checkpoint"]) == ("cancelled", None)


async def test_while_the_database_is_locked_a_checkpoint_waits_and_is_durable_when_it_returns() -> None:
    found: list[Any] = []

    async def save_locked(job: PublishJob) -> None:
        kit = kit_of(stack.settings)
        with kit.locked():
            saving = asyncio.create_task(job.checkpoint("session"))
            done, _ = await asyncio.wait({saving}, timeout=0.1)
            found.append(done)
        await saving
        found.append(kit.columns(Place.LEDGER, job.task_id, "checkpoint"))

    async with stack_of(save_locked, PublisherClass.NONE) as (stack, _):
        await stack.wait_until_ended(await stack.publish())
    assert found == [set(), ('"session"',)]


async def test_data_that_cannot_be_saved_is_the_publisher_s_defect() -> None:
    async def save_odd(job: PublishJob) -> None:
        await job.checkpoint({"session": object()})

    async with stack_of(save_odd, PublisherClass.LOCAL, max_attempts=1) as (stack, _):
        task = await stack.wait_until_ended(await stack.publish())
    assert task["status"] == "failed"
    assert task["error_message"].startswith("CheckpointError: A checkpoint has a value of type object at $.session")


async def test_a_checkpoint_that_another_program_damaged_is_not_given_to_the_publisher() -> None:
    async def save_once(job: PublishJob) -> None:
        if job.attempt == 1:
            await job.checkpoint("session")
            kit_of(stack.settings).change(Place.LEDGER, job.task_id, checkpoint="{no json")
            raise TransientError("later")

    async with stack_of(save_once, PublisherClass.NONE) as (stack, uploader):
        task = await stack.wait_until_ended(await stack.publish())
    assert (task["status"], uploader.saved, task["checkpoint"]) == ("success", [None, None], "{no json")


async def test_progress_is_shown_while_the_attempt_runs_and_not_afterwards() -> None:
    async def upload(job: PublishJob) -> None:
        for done in range(1_000):
            job.progress(done, 1_000)

    async with stack_of(upload, PublisherClass.NONE) as (stack, uploader):
        uploader.hold()
        task_id = await stack.publish()

        async def progress() -> Any:
            return (await stack.task(task_id))["progress"]

        shown = await eventually(progress)
        assert (shown["done"], shown["total"]) == (999, 1_000)
        assert shown["at"].endswith("Z")
        key = f"everpost:progress:{task_id}"
        assert 0 < await stack.queue.redis.ttl(key) <= 60
        await stack.queue.redis.set(key, b"{no json")
        assert await progress() is None
        await stack.queue.redis.delete(key)
        await stack.queue.server.ask(stack.queue.redis.hset(key, "another", "program"))
        assert await progress() is None
        uploader.release()
        assert (await stack.wait_until_ended(task_id))["progress"] is None

        async def is_removed() -> bool:
            return not await stack.queue.redis.exists(key)

        await eventually(is_removed)
