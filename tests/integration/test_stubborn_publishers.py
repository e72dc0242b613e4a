"""Publishers that raise a BaseException or ignore their cancellation: tasks end, slots come back."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from everpost.publishing import PublisherClass, PublishJob, PublishResult
from everpost.testing import PublisherDouble, eventually, everpost_stack
from everpost_workers.attempts.attempt import AttemptState

NO_ERRORS = [GeneratorExit, KeyboardInterrupt, SystemExit, asyncio.CancelledError]


@pytest.mark.parametrize(
    ("publisher_class", "status", "outcomes", "error_class"),
    [
        (PublisherClass.NONE, "unknown", ["unknown"], "unknown"),
        (PublisherClass.LOCAL, "success", ["retry", "success"], "transient"),
        (PublisherClass.KEYED, "success", ["retry", "success"], "unknown"),
        (PublisherClass.CHECKABLE, "success", ["retry", "success"], "transient"),
    ],
)
async def test_whatever_a_publisher_raises_is_its_outcome(
    publisher_class: PublisherClass, status: str, outcomes: list[str], error_class: str
) -> None:
    async with everpost_stack(publisher=PublisherDouble(publisher_class), max_jobs=1) as stack:
        for raised in NO_ERRORS:
            stack.publisher.fail_next(raised())
            task = await stack.wait_until_ended(await stack.publish())
            assert task["status"] == status
            assert [attempt["outcome"] for attempt in task["attempts"]] == outcomes
            assert task["attempts"][0]["error_class"] == error_class
            assert raised.__name__ in task["attempts"][0]["error"]
        after = await stack.wait_until_ended(await stack.publish())
    assert after["status"] == "success", "the only slot came back"


async def test_a_look_up_that_raises_a_base_exception_has_no_verdict() -> None:
    async with everpost_stack(publisher=PublisherDouble(PublisherClass.CHECKABLE)) as stack:
        for raised in NO_ERRORS:
            stack.publisher.fail_look_ups(raised())
            stack.publisher.fail_next(ConnectionResetError("broken"))
            task = await stack.wait_until_ended(await stack.publish())
            assert task["status"] == "unknown"
            assert f"a look-up failed: {raised.__name__}" in task["error_message"]


async def test_a_publisher_that_cancels_itself_for_good_is_told_from_dying_workers() -> None:
    async with everpost_stack(publisher=PublisherDouble(PublisherClass.LOCAL)) as stack:
        stack.publisher.fail_next(*(asyncio.CancelledError() for _ in range(3)))
        task = await stack.wait_until_ended(await stack.publish())
    assert (task["status"], task["error_class"]) == ("failed", "transient")
    assert [attempt["error_class"] for attempt in task["attempts"]] == ["transient"] * 3


class Video:
    """What a publisher loads into memory."""


class Greedy(PublisherDouble):
    """Loads a video, and runs out of memory."""

    def __init__(self) -> None:
        super().__init__(PublisherClass.LOCAL)
        self.loaded: list[weakref.ref[Video]] = []

    async def publish(self, job: PublishJob) -> PublishResult:
        video = Video()
        self.loaded.append(weakref.ref(video))
        raise MemoryError


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()  # what earlier tests have left
    gc.disable()
    yield
    gc.enable()


async def test_what_a_failed_publisher_had_loaded_is_freed_without_the_garbage_collector(no_collection: None) -> None:
    publisher = Greedy()
    async with everpost_stack(publisher=publisher, max_attempts=1) as stack:
        task = await stack.wait_until_ended(await stack.publish())
        assert (task["status"], len(task["attempts"])) == ("failed", 1)

        async def is_freed() -> bool:
            return [video() for video in publisher.loaded] == [None]

        await eventually(is_freed, what="the end of the video")


async def test_an_ended_attempt_is_freed_without_the_garbage_collector(no_collection: None) -> None:
    """Many short tasks would otherwise fill the memory until the next collection."""
    async with everpost_stack() as stack:
        await stack.wait_until_ended(await stack.publish())
        gc.collect()  # a script's first call fails, and its error keeps the attempt on Python 3.13
        for _ in range(3):
            assert (await stack.wait_until_ended(await stack.publish()))["status"] == "success"
        for jobs in (stack.publisher.attempts, stack.publisher.published):
            jobs.clear()  # a job has a part of its attempt

        async def are_freed() -> bool:
            return not any(type(thing) is AttemptState for thing in gc.get_objects())

        await eventually(are_freed, what="the end of the attempts")
