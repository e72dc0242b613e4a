"""The table of publisher classes, row by row: a crash, a time-out, a broken connection, a stop, once sending began."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from everpost.clock import SinceBoot, system_boot_clock, system_clock
from everpost.platforms import Catalogue
from everpost.publishing import (
    InvalidError,
    OutcomeUnknownError,
    PublisherClass,
    PublishJob,
    PublishResult,
    TransientError,
    idempotency_key,
)
from everpost.running_time import count_step
from everpost.store.ledger import ClaimedTasks, Ledger
from everpost.task.model import HELD, Attempt, TaskRecord, TaskStatus
from everpost.task.place import Place
from everpost.testing import ApiRefusal, PublisherDouble, Stack, eventually, everpost_stack
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

DAY_S = 86_400
HOUR_MS = 3_600_000
NEVER = "2020-01-01T00:00:00.000Z"
every_class = pytest.mark.parametrize("publisher_class", PublisherClass)


@asynccontextmanager
async def stack_of(
    publisher: PublisherDouble | PublisherClass, *, workers: int = 1, **settings: Any
) -> AsyncIterator[Stack]:
    double = publisher if isinstance(publisher, PublisherDouble) else PublisherDouble(publisher)
    async with everpost_stack(publisher=double, workers=workers, **settings) as stack:
        yield stack


async def until_attempted(stack: Stack, count: int = 1) -> None:
    async def attempted() -> bool:
        return len(stack.publisher.attempts) >= count

    await eventually(attempted, what=f"{count} attempts")


async def crash(stack: Stack, *, was_sent: bool) -> str:
    """A task as kill -9 of its worker leaves it mid-send: claimed once, its intent on record if its class has one."""
    await stack.stop_workers()
    task_id = await stack.publish()
    if not stack.publisher.publisher_class.may_rerun:
        assert await stack.store.ledger.begin_send(task_id, 1, system_clock())
    if was_sent:
        platform = Catalogue.read(None).find(1)
        key = idempotency_key(task_id, 0)
        stack.publisher.published.append(PublishJob(task_id=task_id, data={}, platform=platform, idempotency_key=key))
    await stack.queue.redis.set(f"arq:retry:{task_id}", 1)
    await stack.start_worker()
    return task_id


@every_class
async def test_after_a_crash_mid_send_the_class_decides(publisher_class: PublisherClass) -> None:
    async with stack_of(publisher_class) as stack:
        task_id = await crash(stack, was_sent=False)
        task = await stack.wait_until_ended(task_id)
    expected = "unknown" if publisher_class is PublisherClass.NONE else "success"
    assert task["status"] == expected
    assert len(stack.publisher.attempts) == (expected == "success")
    lost = task["attempts"][0]
    has_begun = not publisher_class.may_rerun
    assert (lost["number"], lost["outcome"], lost["error_class"]) == (1, "unknown", "crashed")
    assert lost["evidence"] == {
        "phase": "sending" if has_begun else "claimed",
        "bytes_sent": "not_known",
        "last_words": None,
    }
    assert "finished_at" not in lost
    assert [attempt["number"] for attempt in task["attempts"]] == [1, 2][: 1 + (expected == "success")]


async def test_a_checkable_post_that_was_made_before_the_crash_is_found_and_not_made_again() -> None:
    async with stack_of(PublisherClass.CHECKABLE) as stack:
        task = await stack.wait_until_ended(await crash(stack, was_sent=True))
    assert (task["status"], task["provider_post_id"]) == ("success", "post-1")
    assert "look-up" in task["result"]["found_by"]
    assert stack.publisher.attempts == []


async def test_a_look_up_without_a_verdict_leaves_it_to_a_person() -> None:
    async with stack_of(PublisherClass.CHECKABLE) as stack:
        stack.publisher.fail_look_ups(OSError("the platform is down"))
        task = await stack.wait_until_ended(await crash(stack, was_sent=False))
    assert task["status"] == "unknown"
    assert "a look-up failed: OSError: the platform is down" in task["error_message"]
    assert stack.publisher.attempts == []


@every_class
async def test_a_connection_that_breaks_mid_send_never_makes_a_second_post_in_silence(
    publisher_class: PublisherClass,
) -> None:
    async with stack_of(publisher_class) as stack:
        stack.publisher.lose_next_answer()
        task = await stack.wait_until_ended(await stack.publish())
    expected = {
        PublisherClass.LOCAL: ("success", 2),
        PublisherClass.KEYED: ("success", 2),
        PublisherClass.CHECKABLE: ("success", 1),
        PublisherClass.NONE: ("unknown", 1),
    }
    assert (task["status"], len(stack.publisher.attempts)) == expected[publisher_class]
    assert len({job.idempotency_key for job in stack.publisher.attempts}) == 1
    if publisher_class in {PublisherClass.KEYED, PublisherClass.NONE}:
        assert task["attempts"][0]["evidence"] == {
            "phase": "sending",
            "bytes_sent": "not_known",
            "last_words": "ConnectionResetError: the connection broke",
        }


async def test_a_checkable_post_that_was_not_made_is_sent_again() -> None:
    async with stack_of(PublisherClass.CHECKABLE) as stack:
        stack.publisher.fail_next(OutcomeUnknownError("cut off"))
        task = await stack.wait_until_ended(await stack.publish())
    assert task["status"] == "success"
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["retry", "success"]
    assert task["attempts"][0]["error"] == "cut off (a look-up did not find it)"


class MuteError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


@every_class
async def test_an_exception_that_cannot_be_read_hides_no_outcome(publisher_class: PublisherClass) -> None:
    async with stack_of(publisher_class, max_attempts=2) as stack:
        stack.publisher.fail_next(MuteError(), ExceptionGroup("two", [MuteError()]))
        task_id = await stack.publish()
        task = await stack.wait_until_ended(task_id)
        expected = {PublisherClass.LOCAL: "failed", PublisherClass.CHECKABLE: "failed"}.get(publisher_class, "unknown")
        assert task["status"] == expected
        assert "str() failed: ValueError" in task["error_message"]
        if expected == "unknown":
            with pytest.raises(ApiRefusal, match="outcome_unknown"):
                await stack.retry(task_id)
            assert task["attempts"][0]["evidence"]["phase"] == "sending"


class Returning(PublisherDouble):
    """Returns what it was given, after it has published."""

    returned: Any = None

    async def publish(self, job: PublishJob) -> PublishResult:
        await super().publish(job)
        return self.returned  # type: ignore[no-any-return]  # that is what is tested


async def test_a_result_of_any_size_is_a_post_with_its_id_and_delays_no_other_task() -> None:
    publisher = Returning()
    publisher.returned = PublishResult(provider_post_id="17", detail={"log": ["x" * 1_000] * 100_000})
    async with stack_of(publisher) as stack:
        task_id = await stack.publish()
        task = await stack.wait_until_ended(task_id)
        kept = await stack.queue.redis.strlen(f"arq:result:{task_id}")
    assert (task["status"], task["provider_post_id"]) == ("success", "17")
    assert task["result"]["cut"] == ["detail"]
    assert 50 < len(task["result"]["log"]) < 70
    assert kept < 80_000


@pytest.mark.parametrize(("returned", "kind"), [(None, "NoneType"), ({"id": 1}, "dict")])
async def test_a_wrong_return_value_says_nothing_about_the_post(returned: Any, kind: str) -> None:
    publisher = Returning()
    publisher.returned = returned
    async with stack_of(publisher) as stack:
        task = await stack.wait_until_ended(await stack.publish())
    assert task["status"] == "unknown"
    assert task["error_message"] == f"TypeError: publish() returned {kind}, which is no PublishResult"


class Talkative(PublisherDouble):
    """Says how far it has come, and is never heard of again."""

    async def publish(self, job: PublishJob) -> PublishResult:
        job.trace.nothing_sent()
        job.trace.sending("uploading part 3 \udc80 " + "x" * 5_000)
        return await super().publish(job)


async def test_a_time_out_leaves_the_publisher_s_last_words_as_evidence_in_task_and_list() -> None:
    async with stack_of(Talkative(), job_timeout=0.1) as stack:
        stack.publisher.hold()
        task = await stack.wait_until_ended(await stack.publish())
        listed = (await stack.client.get("/api/v1/tasks", params={"status": "unknown"})).json()["data"]
    assert task["status"] == "unknown"
    (attempt,) = task["attempts"]
    evidence = attempt["evidence"]
    assert (evidence["phase"], evidence["bytes_sent"]) == ("sending", "yes")
    assert evidence["last_words"].startswith("uploading part 3 ? xxx")
    assert len(evidence["last_words"]) == 1_000
    assert [row["evidence"] for row in listed] == [evidence]


@every_class
async def test_a_worker_stopped_mid_send_leaves_its_attempt_on_record(publisher_class: PublisherClass) -> None:
    async with stack_of(publisher_class) as stack:
        stack.publisher.hold()
        task_id = await stack.publish()
        await until_attempted(stack)
        await stack.stop_workers()
        stack.publisher.release()
        await stack.start_worker()
        task = await stack.wait_until_ended(task_id)
    outcomes = [attempt["outcome"] for attempt in task["attempts"]]
    expected = {
        PublisherClass.LOCAL: ["success"],
        PublisherClass.KEYED: ["retry", "success"],
        PublisherClass.CHECKABLE: ["retry", "success"],
        PublisherClass.NONE: ["unknown"],
    }
    assert outcomes == expected[publisher_class]
    assert task["status"] == outcomes[-1]
    assert len(stack.publisher.looked_up) == (publisher_class is PublisherClass.CHECKABLE)


async def test_a_refusal_after_a_lost_answer_does_not_make_a_keyed_post_a_failure() -> None:
    """The receiver may still be at work on the first request: a retry, with another key, would make a second post."""
    async with stack_of(PublisherClass.KEYED) as stack:
        stack.publisher.fail_next(OutcomeUnknownError("no answer"), InvalidError("409 in flight"))
        task_id = await stack.publish()
        task = await stack.wait_until_ended(task_id)
        assert (await stack.post_retry(task_id)).json()["code"] == "outcome_unknown"
    assert task["status"] == "unknown"
    assert task["error_message"] == "Attempt 1 may have been accepted; then: 409 in flight"
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["retry", "failed"]


@pytest.mark.parametrize(("lifetime_s", "status"), [(None, "success"), (DAY_S, "success"), (0.001, "unknown")])
async def test_a_key_is_used_again_only_while_the_platform_remembers_it(lifetime_s: float | None, status: str) -> None:
    publisher = PublisherDouble(PublisherClass.KEYED)
    publisher.key_lifetime_s = lifetime_s
    async with stack_of(publisher) as stack:
        task = await stack.wait_until_ended(await crash(stack, was_sent=False))
    assert task["status"] == status
    assert len(publisher.attempts) == (status == "success")
    if status == "unknown":
        assert "may have forgotten its key" in task["error_message"]


class Witness(PublisherDouble):
    """Looks into the ledger when it is called."""

    stack: Stack
    seen: Any = None

    async def publish(self, job: PublishJob) -> PublishResult:
        self.seen = kit_of(self.stack.settings).columns(Place.LEDGER, job.task_id, "sending", "sending_since")
        return await super().publish(job)


@pytest.mark.parametrize(
    ("publisher_class", "lifetime_s", "sending"),
    [
        (PublisherClass.LOCAL, None, None),
        (PublisherClass.KEYED, None, None),
        (PublisherClass.KEYED, DAY_S, 1),
        (PublisherClass.NONE, None, 1),
    ],
)
async def test_an_attempt_is_on_the_disk_before_it_sends_where_it_must_not_run_again_for_ever(
    publisher_class: PublisherClass, lifetime_s: float | None, sending: int | None
) -> None:
    witness = Witness(publisher_class)
    witness.key_lifetime_s = lifetime_s
    async with stack_of(witness) as stack:
        witness.stack = stack
        await stack.wait_until_ended(await stack.publish())
    seen, since_boot = witness.seen
    assert seen == sending
    assert (since_boot is not None) == (lifetime_s is not None)


async def ends_after_a_crash(
    *, lifetime_s: float, began_ms: int, since_boot: SinceBoot | None = None, **clocks: Any
) -> dict[str, Any]:
    """A keyed task whose worker died mid-send and whose Redis was emptied then, once a worker is there again."""
    publisher = PublisherDouble(PublisherClass.KEYED)
    publisher.key_lifetime_s = lifetime_s
    async with stack_of(publisher, workers=0) as stack:
        task_id = await stack.publish()
        assert await stack.store.ledger.begin_send(task_id, 1, began_ms, since_boot=since_boot)
        await stack.queue.redis.flushall()
        await stack.start_worker(**clocks)
        task = await stack.wait_until_ended(task_id)
    assert len(publisher.attempts) == (task["status"] == "success")
    return task


@pytest.mark.parametrize(("age_s", "status"), [(7_000, "success"), (7_300, "unknown")])
async def test_the_age_of_a_key_outlasts_an_emptied_redis(age_s: float, status: str) -> None:
    now_ms, now = system_clock(), system_boot_clock()
    began = SinceBoot(now.boot, now.ms - round(age_s * 1000))
    task = await ends_after_a_crash(lifetime_s=7_200, began_ms=now_ms - round(age_s * 1000), since_boot=began)
    assert task["status"] == status
    assert task["attempts"][0]["number"] == 1
    assert task["attempts"][0]["since_boot"]["ms"] == began.ms


@pytest.mark.parametrize(("age_s", "status"), [(7_000, "success"), (7_300, "unknown")])
async def test_a_clock_that_was_set_back_by_an_hour_makes_no_key_younger(age_s: float, status: str) -> None:
    now_ms, now = system_clock(), system_boot_clock()
    task = await ends_after_a_crash(
        lifetime_s=7_200,
        began_ms=now_ms - round(age_s * 1000),
        since_boot=SinceBoot(now.boot, now.ms - round(age_s * 1000)),
        clock=lambda: system_clock() - HOUR_MS,
    )
    assert task["status"] == status


@pytest.mark.parametrize("ahead_ms", [0, HOUR_MS])
async def test_after_a_boot_with_a_clock_that_was_set_back_no_key_is_used_again(ahead_ms: int) -> None:
    """It says less than the attempt's own time, or less than what a worker saw before."""
    now_ms = system_clock()
    other = SinceBoot("another boot", 1)

    async with stack_of(PublisherClass.KEYED, workers=0) as stack:
        stack.publisher.key_lifetime_s = DAY_S
        task_id = await stack.publish()
        ledger = stack.store.ledger
        assert await ledger.begin_send(task_id, 1, now_ms - HOUR_MS + ahead_ms, since_boot=other)
        await stack.store.meta.count_time(partial(count_step, wall_ms=now_ms, since_boot=other))
        await stack.start_worker(clock=lambda: system_clock() - HOUR_MS // 2)
        assert (await stack.wait_until_ended(task_id))["status"] == "unknown"
    assert stack.publisher.attempts == []


async def test_a_keyed_task_held_since_a_restore_is_not_sent_where_its_key_can_expire() -> None:
    publisher = PublisherDouble(PublisherClass.KEYED)
    publisher.key_lifetime_s = DAY_S
    async with stack_of(publisher, workers=0) as stack:
        task_id = await stack.publish()
        kit_of(stack.settings).change(Place.LEDGER, task_id, sending=HELD)
        await stack.start_worker()
        task = await stack.wait_until_ended(task_id)
    assert (task["status"], task["attempts"], publisher.attempts) == ("unknown", [], [])


def keyed_and_checkable(lifetime_s: float) -> PublisherDouble:
    """A platform that forgets keys, and can be asked for the post."""
    publisher = PublisherDouble(PublisherClass.KEYED)
    publisher.key_lifetime_s = lifetime_s
    publisher.can_look_up = True
    return publisher


@pytest.mark.parametrize(("was_sent", "attempts"), [(True, 0), (False, 1)])
async def test_a_post_whose_key_may_be_forgotten_is_looked_up_if_the_publisher_can(
    was_sent: bool, attempts: int
) -> None:
    publisher = keyed_and_checkable(0.001)
    async with stack_of(publisher) as stack:
        task = await stack.wait_until_ended(await crash(stack, was_sent=was_sent))
    assert task["status"] == "success"
    assert (len(publisher.looked_up), len(publisher.attempts)) == (1, attempts)


async def test_a_post_whose_key_is_remembered_is_sent_again_without_a_look_up() -> None:
    publisher = keyed_and_checkable(DAY_S)
    async with stack_of(publisher) as stack:
        task = await stack.wait_until_ended(await crash(stack, was_sent=True))
    assert (task["status"], publisher.looked_up, len(publisher.attempts)) == ("success", [], 1)


async def test_a_forgotten_key_and_a_look_up_without_a_verdict_leave_it_to_a_person() -> None:
    publisher = keyed_and_checkable(0.001)
    publisher.fail_look_ups(OSError("the platform is down"))
    async with stack_of(publisher) as stack:
        task = await stack.wait_until_ended(await crash(stack, was_sent=True))
    assert (task["status"], publisher.attempts) == ("unknown", [])
    assert "may have forgotten its key, and a look-up failed: OSError" in task["error_message"]


async def test_a_refusal_after_a_look_up_that_did_not_find_the_post_is_a_failure() -> None:
    publisher = keyed_and_checkable(0.001)
    async with stack_of(publisher) as stack:
        publisher.fail_next(InvalidError("no"))
        task = await stack.wait_until_ended(await crash(stack, was_sent=False))
    assert (task["status"], task["error_message"]) == ("failed", "no")


async def test_a_keyed_post_whose_answer_was_lost_is_found_or_sent_again_with_its_key() -> None:
    publisher = keyed_and_checkable(DAY_S)
    async with stack_of(publisher) as stack:
        publisher.lose_next_answer()
        found = await stack.wait_until_ended(await stack.publish())
        publisher.fail_next(OutcomeUnknownError("no answer"))
        sent_again = await stack.wait_until_ended(await stack.publish())
    assert (found["status"], len(found["attempts"]), found["provider_post_id"]) == ("success", 1, "post-1")
    assert (sent_again["status"], len(sent_again["attempts"])) == ("success", 2)
    assert "(a look-up did not find it)" in sent_again["attempts"][0]["error"]
    assert len({job.idempotency_key for job in publisher.attempts[1:]}) == 1


async def test_a_keyed_post_that_is_not_found_stays_unknown_when_attempts_are_used_up() -> None:
    publisher = keyed_and_checkable(DAY_S)
    async with stack_of(publisher, max_attempts=1) as stack:
        publisher.fail_next(OutcomeUnknownError("no answer"))
        task = await stack.wait_until_ended(await stack.publish())
    assert (task["status"], task["error_message"]) == ("unknown", "no answer (a look-up did not find it)")


async def test_a_platform_that_said_no_needs_no_key_to_be_remembered() -> None:
    publisher = PublisherDouble(PublisherClass.KEYED)
    publisher.key_lifetime_s = 0.001
    async with stack_of(publisher) as stack:
        publisher.fail_next(TransientError("503"))
        assert (await stack.wait_until_ended(await stack.publish()))["status"] == "success"


async def test_the_key_repeats_for_an_automatic_attempt_and_changes_for_a_retry() -> None:
    async with stack_of(PublisherClass.KEYED) as stack:
        stack.publisher.fail_next(TransientError("503"), InvalidError("no"))
        task_id = await stack.publish()
        await stack.wait_until_ended(task_id)
        await stack.wait_until_ended((await stack.post_retry(task_id)).json()["new_task_id"])
    keys = [job.idempotency_key for job in stack.publisher.attempts]
    assert keys == [idempotency_key(task_id, 0), idempotency_key(task_id, 0), idempotency_key(task_id, 1)]


async def test_an_attempt_lost_before_its_intent_is_known_to_have_sent_nothing(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish()
    await everpost.queue.redis.set(f"arq:retry:{task_id}", 1)
    await everpost.start_worker()
    task = await everpost.wait_until_ended(task_id)
    assert task["status"] == "success"
    assert task["attempts"][0]["evidence"] == {"phase": "claimed", "bytes_sent": "no", "last_words": None}


async def test_an_intent_written_while_its_task_is_claimed_anew_is_not_overlooked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that stood still for longer than its lease goes on just as another one looks at its task."""
    async with stack_of(PublisherClass.NONE) as stack:
        await stack.stop_workers()
        task_id = await stack.publish()
        await stack.queue.redis.set(f"arq:retry:{task_id}", 1)
        ledger = type(stack.store.ledger)
        check_claims = ledger.check_claims

        async def check_claims_too_early(self: Ledger, offered: Mapping[str, bytes | None]) -> ClaimedTasks:
            found = await check_claims(self, offered)
            for task_id in offered:
                await self.begin_send(task_id, 1, system_clock())
            return found

        monkeypatch.setattr(ledger, "check_claims", check_claims_too_early)
        await stack.start_worker()
        task = await stack.wait_until_ended(task_id)
    assert stack.publisher.attempts == []
    assert task["status"] == "unknown"
    assert task["attempts"][0]["evidence"]["bytes_sent"] == "not_known"


async def test_a_lost_attempts_late_report_is_kept_beside_the_tasks_outcome() -> None:
    async with stack_of(PublisherClass.KEYED) as stack:
        task_id = await crash(stack, was_sent=False)
        task = await stack.wait_until_ended(task_id)
        late = TaskRecord(
            task_id=task_id,
            status=TaskStatus.SUCCESS,
            finished_at_ms=system_clock(),
            provider_post_id="another",
            attempt=Attempt(number=1, started_at=NEVER, finished_at=NEVER, outcome=TaskStatus.SUCCESS, worker="w"),
        )
        for _ in range(2):  # the engine repeats what failed halfway
            await stack.store.ledger.end([late])
        after = await stack.task(task_id)
    assert after["provider_post_id"] == task["provider_post_id"]
    assert after["attempts"][:2] == task["attempts"]
    (reported,) = after["attempts"][2:]
    assert (reported["number"], reported["late"], reported["provider_post_id"]) == (1, True, "another")


async def test_a_task_held_since_a_restore_is_never_sent(everpost: Stack) -> None:
    await everpost.stop_workers()
    task_id = await everpost.publish()
    kit_of(everpost.settings).change(Place.LEDGER, task_id, sending=HELD)
    await everpost.start_worker()
    assert (await everpost.wait_until_ended(task_id))["status"] == "unknown"
    assert everpost.publisher.attempts == []
