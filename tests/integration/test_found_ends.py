"""The end of a task after an attempt that never reported, and with a result that cannot be kept."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from everpost.clock import system_clock, to_text
from everpost.publishing import InvalidError, PublisherClass, PublishJob, PublishResult, TransientError
from everpost.task.place import Place
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")
HAS_FILE = pytest.mark.parametrize("both_stores_in_chaos", ["sqlite"], indirect=True)


async def test_a_task_cancelled_after_its_worker_died_while_sending_is_unknown() -> None:
    async with everpost_stack(workers=0) as stack:
        task_id = await stack.publish()
        kit_of(stack.settings).change(Place.LEDGER, task_id, sending=1, status="running")  # as kill -9 leaves it
        answer = await stack.client.post(f"/api/v1/tasks/cancel/{task_id}", params={"force": "true"})
        assert answer.status_code == 202
        await stack.start_worker()
        task = await stack.wait_until_ended(task_id)
        assert (task["status"], task["error_class"]) == ("unknown", "unknown")
        assert (await stack.post_retry(task_id)).json()["code"] == "outcome_unknown"
        assert not stack.publisher.published


class Careless(PublisherDouble):
    """A platform whose answer goes into the result as it is."""

    def __init__(self, result: PublishResult) -> None:
        super().__init__()
        self._result = result

    async def publish(self, job: PublishJob) -> PublishResult:
        plain = await super().publish(job)
        return self._result if job.data.get("odd") else plain


ODD: list[Any] = [
    PublishResult(detail={"answer": object()}),
    PublishResult(detail={"answer": "\udc80"}),
    PublishResult(provider_post_id=12345),  # type: ignore[arg-type]  # a publisher without type checks
    PublishResult(publish_url="https://example.test/\udc80"),
]


@pytest.mark.parametrize("result", ODD)
async def test_a_result_that_cannot_be_kept_is_a_success_and_holds_up_no_other(result: PublishResult) -> None:
    async with everpost_stack(publisher=Careless(result)) as stack:
        ids = [await stack.publish(odd=True), await stack.publish()]
        assert [(await stack.wait_until_ended(task_id))["status"] for task_id in ids] == ["success", "success"]


async def test_an_error_that_is_not_unicode_ends_its_task_and_delays_no_other(everpost: Stack) -> None:
    everpost.publisher.fail_next(InvalidError("no file \udcff.mp4"))
    ids = [await everpost.publish(), await everpost.publish()]
    tasks = [await everpost.wait_until_ended(task_id) for task_id in ids]
    assert sorted(task["status"] for task in tasks) == ["failed", "success"]
    assert [task["error_message"] for task in tasks if task["error_message"]] == ["no file ?.mp4"]


@HAS_FILE
async def test_an_attempt_that_fails_while_the_file_is_away_is_tried_again_once_it_is_back(everpost: Stack) -> None:
    everpost.publisher.hold()
    everpost.publisher.fail_next(TransientError("not now"))
    task_id = await everpost.publish()

    async def has_begun() -> bool:
        return bool(everpost.publisher.attempts)

    await eventually(has_begun)
    path = everpost.settings.database_path
    moved = path.rename(path.with_suffix(".moved"))
    with capture_logs() as lines:
        everpost.publisher.release()

        async def waits() -> bool:
            return any(line["event"] == "ledger.waits" for line in lines)

        await eventually(waits)
    moved.rename(path)
    assert (await everpost.wait_until_ended(task_id))["status"] == "success"


@HAS_FILE
async def test_nothing_is_begun_while_outcomes_cannot_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    async with everpost_stack(publisher=PublisherDouble(PublisherClass.KEYED)) as stack:
        stack.publisher.hold()
        first = await stack.publish()
        later = await stack.publish(schedule_time=to_text(system_clock() + 1_000))

        async def has_begun() -> bool:
            return bool(stack.publisher.attempts)

        async def is_refused() -> bool:
            return any(line.startswith("on_claim failed") for line in caplog.messages)

        await eventually(has_begun)
        path = stack.settings.database_path
        moved = path.rename(path.with_suffix(".moved"))
        stack.publisher.release()
        await eventually(is_refused)
        assert len(stack.publisher.attempts) == 1
        moved.rename(path)
        for task_id in (first, later):
            assert (await stack.wait_until_ended(task_id))["status"] == "success"
