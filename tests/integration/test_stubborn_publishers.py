"""Publishers that raise a BaseException or ignore their cancellation: tasks end, slots come back."""

import asyncio

import pytest

from everpost.publishing import PublisherClass
from everpost.testing import PublisherDouble, everpost_stack

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
