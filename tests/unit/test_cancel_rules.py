from typing import Any

import pytest

from everpost.errors import TaskEnded, TaskHeld, TaskNotFound, TaskRunning
from everpost.task.cancel_rules import CancelAction, decide_cancel
from everpost.task.place import Place, Position


def position(status: str, place: Place = Place.LEDGER, **more: Any) -> Position:
    return Position(task_id="t", place=place, status=status, chain_id="t", **more)


@pytest.mark.parametrize("status", ["pending", "scheduled", "retry"])
def test_a_waiting_task_is_taken_out_of_redis_before_it_is_cancelled(status: str) -> None:
    assert decide_cancel("t", position(status)).action is CancelAction.WITHDRAW
    assert decide_cancel("t", position(status), withdrawn=True).action is CancelAction.CANCEL


def test_a_row_inherited_while_it_waited_needs_no_redis() -> None:
    assert decide_cancel("t", position("pending", inherited=True)).action is CancelAction.CANCEL
    assert isinstance(decide_cancel("t", position("running", inherited=True)).refusal, TaskEnded)


def test_a_task_whose_first_byte_may_have_left_is_stopped_only_by_force() -> None:
    sending = position("pending", sending=True)
    assert isinstance(decide_cancel("t", sending, withdrawn=True).refusal, TaskRunning)
    assert decide_cancel("t", sending, force=True).action is CancelAction.ABORT


def test_a_task_held_since_a_restore_is_not_stopped_by_force() -> None:
    held = position("pending", sending=True, held=True)
    assert isinstance(decide_cancel("t", held, force=True).refusal, TaskHeld)


@pytest.mark.parametrize("place", [Place.HISTORY, Place.ARCHIVE])
def test_an_ended_task_is_not_cancelled(place: Place) -> None:
    assert isinstance(decide_cancel("t", position("failed", place), force=True).refusal, TaskEnded)


def test_a_task_no_store_has_is_not_found() -> None:
    assert isinstance(decide_cancel("t", None, force=True).refusal, TaskNotFound)
