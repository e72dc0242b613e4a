"""Decides whether a task may be cancelled: a pure function from the store's facts to the next step."""

from enum import StrEnum

import msgspec

from everpost.errors import ServiceError, TaskEnded, TaskHeld, TaskNotFound, TaskRunning
from everpost.task.model import WAITING, ErrorClass, TaskRecord, TaskStatus
from everpost.task.place import Place, Position

CANCELLED_MESSAGE = "Cancelled on request"


class CancelAction(StrEnum):
    """The next step of a cancel."""

    CANCEL = "cancel"
    WITHDRAW = "withdraw"  # take the job out of Redis first, then decide again
    ABORT = "abort"  # a worker may run it: ask the worker to stop it
    REFUSE = "refuse"


class CancelDecision(msgspec.Struct, frozen=True):
    """A `CancelAction`, with the reason to refuse."""

    action: CancelAction
    refusal: ServiceError | None = None


def decide_cancel(
    task_id: str, position: Position | None, *, withdrawn: bool = False, force: bool = False
) -> CancelDecision:
    """Decide the next step of a cancel.

    Args:
        withdrawn: The job was taken out of Redis, and no worker held it.
        force: Cancel the task even if a worker holds it.
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


def cancelled_record(task_id: str, now_ms: int) -> TaskRecord:
    """How a task ends that is cancelled while it waits."""
    return TaskRecord(
        task_id=task_id,
        status=TaskStatus.CANCELLED,
        finished_at_ms=now_ms,
        error_class=ErrorClass.CANCELLED,
        error_message=CANCELLED_MESSAGE,
    )
