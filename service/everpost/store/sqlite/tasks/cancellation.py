"""Cancelling tasks that wait: the move from the ledger to the history."""

from collections.abc import Collection, Sequence

from everpost.errors import ServiceError, TaskRunning
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.positions import find_positions
from everpost.task.cancel_rules import CancelAction, decide_cancel
from everpost.task.model import ErrorClass, TaskRecord, TaskStatus

CANCELLED_MESSAGE = "Cancelled on request"


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
    end_tasks(connection, cancelled)
    return refused


def _record(task_id: str, now_ms: int) -> TaskRecord:
    return TaskRecord(
        task_id=task_id,
        status=TaskStatus.CANCELLED,
        finished_at_ms=now_ms,
        error_class=ErrorClass.CANCELLED,
        error_message=CANCELLED_MESSAGE,
    )
