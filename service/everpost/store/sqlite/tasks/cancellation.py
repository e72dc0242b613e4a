"""Cancelling tasks that wait: the decision, and the move from the ledger to the history."""

from collections.abc import Collection, Sequence
from enum import StrEnum

import msgspec

from everpost.errors import ServiceError, TaskEnded, TaskHeld, TaskNotFound, TaskRunning
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.completion import complete_tasks
from everpost.store.sqlite.tasks.positions import find_positions
from everpost.task.model import WAITING, ErrorClass, TaskRecord, TaskStatus
from everpost.task.retry_rules import Place, Position

CANCELLED_MESSAGE = "Cancelled on request"


class CancelAction(StrEnum):
    """What cancelling does."""

    CANCEL = "cancel"
    WITHDRAW = "withdraw"  # take it out of Redis first, then decide again
    ABORT = "abort"  # a worker may be at it: ask it to stop
    REFUSE = "refuse"


class CancelDecision(msgspec.Struct, frozen=True):
    """A `CancelAction`, with the reason to refuse."""

    action: CancelAction
    refusal: ServiceError | None = None


def decide_cancel(
    task_id: str, position: Position | None, *, withdrawn: bool = False, force: bool = False
) -> CancelDecision:
    """What cancelling a task does.

    Args:
        withdrawn: Redis no longer has the task, and no worker held it.
        force: Cancel it although a worker holds it.
    """
    if position is None:
        return CancelDecision(CancelAction.REFUSE, TaskNotFound(task_id))
    if position.place is not Place.LEDGER:
        return CancelDecision(CancelAction.REFUSE, TaskEnded(task_id, position.status))
    if position.inherited:
        if position.status in WAITING:
            return CancelDecision(CancelAction.CANCEL)
        return CancelDecision(CancelAction.REFUSE, TaskEnded(task_id, position.status))
    if not position.sending and position.status in WAITING:
        return CancelDecision(CancelAction.CANCEL if withdrawn else CancelAction.WITHDRAW)
    refusal = TaskHeld(task_id) if position.held else TaskRunning(task_id)
    may_abort = force and not position.held
    return CancelDecision(CancelAction.ABORT) if may_abort else CancelDecision(CancelAction.REFUSE, refusal)


def cancel_tasks(
    connection: sqlite3.Connection, task_ids: Sequence[str], withdrawn: Collection[str], now_ms: int
) -> dict[str, ServiceError]:
    """Cancel the tasks that may be, inside the caller's transaction; why each of the others may not."""
    refused: dict[str, ServiceError] = {}
    cancelled: list[TaskRecord] = []
    positions = find_positions(connection, task_ids)
    for task_id in dict.fromkeys(task_ids):
        decision = decide_cancel(task_id, positions.get(task_id), withdrawn=task_id in withdrawn)
        if decision.action is CancelAction.CANCEL:
            cancelled.append(_record(task_id, now_ms))
        else:
            refused[task_id] = decision.refusal or TaskRunning(task_id)
    complete_tasks(connection, cancelled)
    return refused


def _record(task_id: str, now_ms: int) -> TaskRecord:
    return TaskRecord(
        task_id=task_id,
        status=TaskStatus.CANCELLED,
        finished_at_ms=now_ms,
        error_class=ErrorClass.CANCELLED,
        error_message=CANCELLED_MESSAGE,
    )
