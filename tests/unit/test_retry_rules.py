from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.errors import OutcomeUnknown, TaskRunning, TaskSucceeded
from everpost.task.place import Place, Position
from everpost.task.retry_rules import RetryAction, RetryDecision, decide_newest_retry, decide_retry


def position(status: str, place: Place = Place.HISTORY, task_id: str = "a", **more: Any) -> Position:
    return Position(task_id=task_id, place=place, status=status, chain_id="a", **more)


@pytest.mark.parametrize("status", ["failed", "cancelled", "retry", "pending", ""])
def test_failed_tasks_and_waiting_ones_in_the_history_are_retried(status: str) -> None:
    assert decide_retry(position(status), []) == RetryDecision(RetryAction.RETRY)


def test_a_success_is_published_again_only_by_force() -> None:
    refusal = decide_retry(position("success"), []).refusal
    assert isinstance(refusal, TaskSucceeded)
    assert decide_retry(position("success"), [], force=True).action is RetryAction.RETRY


def test_an_unknown_outcome_waits_for_a_person() -> None:
    assert isinstance(decide_retry(position("unknown"), []).refusal, OutcomeUnknown)
    assert decide_retry(position("unknown"), [], force=True).action is RetryAction.RETRY


def test_a_task_whose_retry_succeeded_is_not_published_again() -> None:
    relatives = [position("failed", task_id="b"), position("success", Place.ARCHIVE, task_id="c")]
    refusal = decide_retry(position("failed"), relatives).refusal
    assert isinstance(refusal, TaskSucceeded)
    assert refusal.task_id == "c"


def test_a_live_retry_is_the_answer_even_to_force() -> None:
    live = [position("pending", Place.LEDGER, task_id="b")]
    assert decide_retry(position("failed"), live) == RetryDecision(RetryAction.ANSWER_LIVE, "b")
    assert decide_retry(position("success"), live, force=True) == RetryDecision(RetryAction.ANSWER_LIVE, "b")


@pytest.mark.parametrize("status", ["pending", "scheduled", "retry"])
def test_a_waiting_task_is_withdrawn_before_it_is_retried(status: str) -> None:
    waiting = position(status, Place.LEDGER)
    assert decide_retry(waiting, []).action is RetryAction.WITHDRAW
    assert decide_retry(waiting, [], withdrawn=True).action is RetryAction.RETRY


def test_a_task_whose_first_byte_may_have_left_is_running() -> None:
    sending = position("pending", Place.LEDGER, sending=True)
    assert isinstance(decide_retry(sending, [], withdrawn=True).refusal, TaskRunning)


def test_a_row_inherited_while_it_ran_has_an_unknown_outcome() -> None:
    assert isinstance(decide_retry(position("running", Place.LEDGER, inherited=True), []).refusal, OutcomeUnknown)
    assert isinstance(decide_retry(position("running", Place.HISTORY), []).refusal, OutcomeUnknown)


def test_a_row_inherited_while_it_waited_needs_no_redis() -> None:
    assert decide_retry(position("pending", Place.LEDGER, inherited=True), []).action is RetryAction.RETRY


positions = st.builds(
    Position,
    task_id=st.sampled_from("abc"),
    place=st.sampled_from(Place),
    status=st.sampled_from(["pending", "running", "success", "failed", "unknown", "cancelled", "nonsense"]),
    chain_id=st.just("a"),
    inherited=st.booleans(),
    sending=st.booleans(),
)


@given(positions, st.lists(positions, max_size=4), st.booleans(), st.booleans())
def test_without_force_nothing_is_retried_that_was_or_may_have_been_published(
    task: Position, relatives: list[Position], force: bool, withdrawn: bool
) -> None:
    decision = decide_retry(task, relatives, force=force, withdrawn=withdrawn)
    assert (decision.refusal is not None) == (decision.action is RetryAction.REFUSE)
    if decision.action is RetryAction.RETRY and not force:
        assert not {"success", "unknown"} & {other.status for other in [task, *relatives]}
        assert all(other.place is not Place.LEDGER for other in relatives)


def test_of_a_chain_whose_retry_has_ended_only_the_newest_task_is_retried() -> None:
    first = position("failed")
    second = Position(task_id="b", place=Place.HISTORY, status="failed", chain_id="a", generation=1)
    assert decide_newest_retry(first, [second]) == RetryDecision(RetryAction.REFUSE)
    assert decide_newest_retry(second, [first]).action is RetryAction.RETRY
    assert isinstance(decide_newest_retry(position("success"), [second]).refusal, TaskSucceeded)
    live = position("pending", Place.LEDGER, task_id="c")
    assert decide_newest_retry(second, [first, live]) == RetryDecision(RetryAction.ANSWER_LIVE, "c")
