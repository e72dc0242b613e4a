"""Which data a retry uses, which source its answer names, and what has to be done before the decision."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any, cast

import msgspec
import pytest

from everpost.actions.retry_data import look
from everpost.errors import InvalidValue, QueueUnreachable, TaskNotFound, TaskRunning, TaskUnreadable, UnknownPlatform
from everpost.platforms import Catalogue
from everpost.queue.task_queue import TaskQueue
from everpost.task.candidate import LARGEST_LOCKED, Candidate, StoredData
from everpost.task.model import TaskStatus
from everpost.task.place import Place, Position
from everpost.task.queued_job import QueuedJob
from everpost.task.retry_plan import (
    DIFFERS,
    REBUILT,
    REDIS,
    UNSCHEDULED,
    ChosenData,
    Known,
    Made,
    RetryPlan,
    choose_data,
)
from everpost.task.retry_rules import DataOrigin, RetryAction, RetryDecision, decide_retry

NOW_MS = 1_790_000_000_000
OWN, FORGED = b'{"platform":"douyin","own":1}', b'{"platform":"douyin","forged":1}'
FAILED = Position(task_id="t", place=Place.HISTORY, status="failed", chain_id="root", generation=1)
WAITING = Position(task_id="t", place=Place.LEDGER, status="pending", chain_id="t")


def store_has(data: bytes | None = OWN, *, position: Position = FAILED, **fields: Any) -> Candidate:
    stored = None if data is None else StoredData(place=position.place, task_data=data, priority=3, **fields)
    return Candidate(task_id="t", position=position, data=stored, size_bytes=len(data or b""))


NOWHERE = Candidate(task_id="t")
REBUILT_DATA = store_has(is_rebuilt=True)
RAW = store_has(b"", raw_job=b"\x80")
LARGE = msgspec.structs.replace(store_has(None), size_bytes=LARGEST_LOCKED + 1)


def redis_has(data: bytes | None = OWN, *, success: bool | None = False) -> QueuedJob:
    return QueuedJob(task_data=data, priority=7, success=success)


def plan_of(known: Mapping[str, Known] | None = None) -> RetryPlan:
    return RetryPlan(
        rule=decide_retry,
        known=known or {},
        new_ids={"t": "new"},
        now_ms=NOW_MS,
        accepted_by="us",
        batch_id="batch",
        catalogue=Catalogue.read(),
        zone=UTC,
    )


def decided(candidate: Candidate, known: Known | None = None) -> RetryDecision:
    return plan_of({} if known is None else {"t": known}).decide(candidate)


class Jobs:
    """Redis, which has one job or does not answer."""

    def __init__(self, job: QueuedJob | None, *, is_away: bool = False) -> None:
        self.jobs, self._job, self._is_away = self, job, is_away
        self.asked: list[str] = []

    async def find_task(self, task_id: str) -> QueuedJob | None:
        self.asked.append(task_id)
        if self._is_away:
            raise QueueUnreachable
        return self._job


async def decided_after_a_look(candidate: Candidate, redis: Jobs, known: Known | None = None) -> RetryDecision:
    """The decision after what the store keeps out of its lock was looked up."""
    plan = plan_of({} if known is None else {"t": known})
    return (await look(cast("TaskQueue", redis), plan, [candidate])).decide(candidate)


def test_data_in_both_comes_from_the_store_although_the_answer_names_redis() -> None:
    assert choose_data(store_has(), redis_has()) == ChosenData(OWN, 3, DataOrigin(REDIS))


def test_other_data_in_redis_is_not_used_and_told() -> None:
    assert choose_data(store_has(), redis_has(FORGED)) == ChosenData(OWN, 3, DataOrigin(REDIS, DIFFERS, differs=True))


@pytest.mark.parametrize("stored", [REBUILT_DATA, store_has(None)])
def test_whole_data_of_redis_comes_before_rebuilt_data_or_none(stored: Candidate) -> None:
    assert choose_data(stored, redis_has(FORGED)) == ChosenData(FORGED, 7, DataOrigin(REDIS))


def test_rebuilt_data_is_used_if_redis_has_none() -> None:
    assert choose_data(REBUILT_DATA, redis_has(None)) == ChosenData(OWN, 3, DataOrigin(REDIS, REBUILT))


def test_data_in_only_one_place_comes_from_there() -> None:
    assert choose_data(NOWHERE, redis_has()) == ChosenData(OWN, 7, DataOrigin(REDIS))
    assert choose_data(store_has(), None) == ChosenData(OWN, 3, DataOrigin("sqlite"))
    assert choose_data(store_has(position=WAITING), None) == ChosenData(OWN, 3, DataOrigin("task_queue"))
    assert choose_data(store_has(None), None) is None
    assert choose_data(NOWHERE, None) is None


def test_a_small_task_that_the_store_has_whole_is_decided_about_without_a_look() -> None:
    decision = decided(store_has())
    assert decision.succession is not None
    new_task = decision.succession.task
    assert (decision.action, decision.origin) == (RetryAction.RETRY, DataOrigin("sqlite"))
    assert (new_task.task_id, new_task.task_data, new_task.platform, new_task.batch_id) == (
        "new", OWN, "douyin", "batch",
    )  # fmt: skip
    assert (new_task.retry_of, new_task.root_id, new_task.generation) == ("t", "root", 2)


@pytest.mark.parametrize("candidate", [NOWHERE, REBUILT_DATA, store_has(None)])
def test_redis_is_asked_about_a_task_that_the_store_does_not_have_whole(candidate: Candidate) -> None:
    assert decided(candidate).action is RetryAction.LOOK
    assert decided(candidate, Known()).action is not RetryAction.LOOK


@pytest.mark.parametrize("candidate", [LARGE, RAW])
@pytest.mark.parametrize("known", [None, Known(), Known(redis_has())])
def test_large_data_and_messages_of_stock_clients_are_not_read_under_the_lock(
    candidate: Candidate, known: Known | None
) -> None:
    assert decided(candidate, known).action is RetryAction.LOOK


@pytest.mark.parametrize(
    ("schedule_time", "action"),
    [("null", RetryAction.RETRY), ('""', RetryAction.RETRY), ('"2030-01-01 10:00"', RetryAction.LOOK)],
)
def test_the_zone_of_an_account_is_looked_for_only_if_there_is_a_time(schedule_time: str, action: RetryAction) -> None:
    plan = msgspec.structs.replace(plan_of(), has_account_zones=True)
    data = f'{{"platform":"douyin","schedule_time":{schedule_time}}}'.encode()
    assert plan.decide(store_has(data)).action is action


def test_data_of_redis_that_is_no_json_object_in_utf_8_is_refused() -> None:
    for data in (b'{"platform":"douyin","title2":"\xff"}', b"[1]", b"{", b"1"):
        refusal = plan_of().make(store_has(None), redis_has(data))
        assert isinstance(refusal, InvalidValue)
        assert refusal.path == "$.task_data"


async def test_a_look_asks_redis_only_for_what_the_store_does_not_have_whole() -> None:
    redis = Jobs(redis_has(FORGED))
    assert (await decided_after_a_look(store_has(b'{"platform":"douyin"}'), redis)).action is RetryAction.RETRY
    assert (await decided_after_a_look(REBUILT_DATA, redis, Known())).origin == DataOrigin("sqlite", REBUILT)
    assert redis.asked == []
    assert (await decided_after_a_look(REBUILT_DATA, redis)).origin == DataOrigin(REDIS)
    assert redis.asked == ["t"]


async def test_a_redis_that_does_not_answer_has_nothing() -> None:
    decision = await decided_after_a_look(REBUILT_DATA, Jobs(None, is_away=True))
    assert (decision.action, decision.origin) == (RetryAction.RETRY, DataOrigin("sqlite", REBUILT))


async def test_a_task_that_only_redis_has_is_retried_as_redis_says() -> None:
    decision = await decided_after_a_look(NOWHERE, Jobs(redis_has()))
    assert decision.succession is not None
    assert [task.status for task in decision.succession.chain] == [TaskStatus.FAILED]
    assert (decision.succession.task.retry_of, decision.origin) == ("t", DataOrigin(REDIS))
    waiting = await decided_after_a_look(NOWHERE, Jobs(redis_has(success=None)))
    assert waiting.action is RetryAction.WITHDRAW


async def test_a_message_that_cannot_be_published_is_refused_whatever_redis_has() -> None:
    decision = await decided_after_a_look(RAW, Jobs(None), Known(redis_has(FORGED)))
    assert isinstance(decision.refusal, TaskUnreadable)
    assert decision.origin is None
    only_in_redis = await decided_after_a_look(NOWHERE, Jobs(redis_has(b'{"title":"\\u0000"}')))
    assert isinstance(only_in_redis.refusal, TaskUnreadable)


async def test_a_task_that_left_redis_before_it_was_asked_is_found_in_the_store_by_then() -> None:
    plan = await look(cast("TaskQueue", Jobs(None)), plan_of(), [NOWHERE])
    assert isinstance(plan.decide(NOWHERE).refusal, TaskNotFound)
    assert plan.decide(store_has()).action is RetryAction.RETRY


def test_a_new_task_that_was_made_before_is_written() -> None:
    made = plan_of().make(store_has(FORGED), None)
    assert isinstance(made, Made)
    decision = decided(LARGE, Known(made=made))
    assert decision.succession is not None
    assert decision.succession.task.task_data == FORGED


def test_a_waiting_task_is_withdrawn_once_and_then_retried_or_refused() -> None:
    waiting = store_has(position=WAITING)
    assert decided(waiting).action is RetryAction.WITHDRAW
    assert decided(waiting, Known(withdrawn=True)).action is RetryAction.RETRY
    assert isinstance(decided(waiting, Known(withdrawn=False)).refusal, TaskRunning)


def test_a_task_without_data_or_of_an_unknown_platform_is_refused() -> None:
    assert isinstance(decided(store_has(None), Known()).refusal, TaskNotFound)
    assert isinstance(decided(store_has(b'{"platform":"gone"}')).refusal, UnknownPlatform)


def test_the_source_of_the_data_is_told_with_an_unfinished_retry_or_a_refusal() -> None:
    live = msgspec.structs.replace(WAITING, task_id="live", chain_id="root")
    candidate = msgspec.structs.replace(store_has(), relatives=[live])
    decision = decided(candidate, Known(redis_has(FORGED)))
    assert (decision.action, decision.task_id) == (RetryAction.ANSWER_LIVE, "live")
    assert decision.origin == DataOrigin(REDIS, DIFFERS, differs=True)


def test_a_schedule_that_cannot_be_read_is_told_beside_other_warnings() -> None:
    data = b'{"platform":"douyin","schedule_time":"soon"}'
    decision = decided(store_has(data, is_rebuilt=True), Known())
    assert decision.origin == DataOrigin("sqlite", f"{REBUILT}; {UNSCHEDULED}")
