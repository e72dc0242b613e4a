from typing import Any

import pytest

from everpost.errors import AlreadyDecided, NothingToDecide, TaskNotFound
from everpost.task.place import Place, Position
from everpost.task.removal_rules import Removal, decide_archiving, decide_on_rows, decide_removal
from everpost.task.resolution_rules import (
    Decided,
    DecisionKind,
    Grounds,
    decide_resolution,
    decisions_of_retry,
    sent_again_as,
)

NOW_MS = 1_790_000_000_000


def position(status: str, place: Place = Place.HISTORY, task_id: str = "t", **more: Any) -> Position:
    return Position(task_id=task_id, place=place, status=status, chain_id="t", **more)


def decided(task_id: str) -> Decided:
    return Decided(
        task_id=task_id,
        decision=DecisionKind.SUCCEEDED,
        status_before="unknown",
        decided_at="2026-01-01T00:00:00.000Z",
        decided_by="mei",
    )


@pytest.mark.parametrize("place", [Place.HISTORY, Place.ARCHIVE])
def test_an_unknown_task_can_be_called_a_success(place: Place) -> None:
    assert decide_resolution("t", position("unknown", place), []) is None


def test_the_first_decision_about_a_task_stands() -> None:
    first, of_another = decided("t"), decided("other")
    refusal = decide_resolution("t", position("success"), [first, of_another])
    assert isinstance(refusal, AlreadyDecided)
    assert refusal.decision is first
    assert refusal.message == "It was decided by mei at 2026-01-01T00:00:00.000Z: succeeded."
    assert isinstance(decide_resolution("t", position("success"), [of_another]), NothingToDecide)


def test_a_known_outcome_or_an_unfinished_task_cannot_be_decided() -> None:
    assert isinstance(decide_resolution("t", position("failed"), []), NothingToDecide)
    assert isinstance(decide_resolution("t", position("unknown", Place.LEDGER), []), NothingToDecide)
    assert isinstance(decide_resolution("t", None, []), TaskNotFound)


def test_an_ordinary_retry_is_not_kept_as_a_decision() -> None:
    assert decisions_of_retry([position("failed")], "new", Grounds("mei", "why"), NOW_MS) == []


def test_a_retry_by_force_decides_about_the_task_and_whatever_is_unknown_of_its_chain() -> None:
    chain = [position("success"), position("unknown", task_id="u"), position("failed", task_id="f")]
    kept = decisions_of_retry(chain, "new", Grounds("mei", "why"), NOW_MS)
    assert [(one.task_id, one.status_before, one.new_task_id) for one in kept] == [
        ("t", "success", "new"),
        ("u", "unknown", "new"),
    ]
    assert {(one.decision, one.decided_by, one.why) for one in kept} == {(DecisionKind.SEND_AGAIN, "mei", "why")}


def test_a_task_was_sent_again_if_its_outcome_was_unknown_then() -> None:
    taken = decisions_of_retry([position("unknown")], "new", Grounds("mei"), NOW_MS)
    assert sent_again_as("t", taken) == "new"
    later = decisions_of_retry([position("success")], "newer", Grounds("mei"), NOW_MS)
    assert sent_again_as("t", [*taken, *later]) == "new"
    assert sent_again_as("t", [decided("t"), *later]) is None
    assert sent_again_as("new", taken) is None


def test_ended_tasks_and_inherited_rows_may_be_removed() -> None:
    assert decide_removal(position("failed")) is Removal.ARCHIVED
    assert decide_removal(position("pending", Place.LEDGER, inherited=True)) is Removal.ARCHIVED
    assert decide_removal(position("pending", Place.LEDGER)) is Removal.UNFINISHED
    assert decide_removal(position("failed", Place.ARCHIVE)) is Removal.ARCHIVED_BEFORE
    assert decide_removal(None) is Removal.NOT_FOUND


def test_only_successes_go_to_the_archive_because_of_their_age() -> None:
    assert decide_archiving(position("success")) is Removal.ARCHIVED
    assert decide_archiving(position("failed")) is Removal.NOT_SUCCEEDED
    assert decide_archiving(position("success", Place.LEDGER, inherited=True)) is Removal.NOT_SUCCEEDED
    assert decide_archiving(None) is Removal.NOT_FOUND


def test_of_several_rows_with_one_id_only_those_that_may_go_are_archived() -> None:
    rows = [position("success"), position("failed")]
    assert decide_on_rows(rows, ["t"], decide_archiving) == ({"t": Removal.ARCHIVED}, [True, False])
    assert decide_on_rows(rows, ["t"], decide_removal) == ({"t": Removal.ARCHIVED}, [True, True])
    assert decide_on_rows(rows[1:], ["t"], decide_archiving) == ({"t": Removal.NOT_SUCCEEDED}, [False])


def test_no_row_goes_to_the_archive_while_one_with_its_id_is_unfinished() -> None:
    rows = [position("success"), position("pending", Place.LEDGER)]
    assert decide_on_rows(rows, ["t"], decide_removal) == ({"t": Removal.UNFINISHED}, [False, False])
    assert decide_on_rows([], ["t"], decide_removal) == ({"t": Removal.NOT_FOUND}, [])
