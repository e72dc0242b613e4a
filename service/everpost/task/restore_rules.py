"""Decides what a restore means for the backup's unfinished tasks: they may have been published since the backup."""

from typing import Any

import msgspec

from everpost.task.model import Attempt, BytesSent, ErrorClass, Evidence, SendPhase, TaskColumns, TaskRecord, TaskStatus
from everpost.task.queued_job import QueuedJob

HELD = "Held since a backup was restored: it may have been published since the backup was made"
GIVEN_UP = "It was unfinished in the restored backup; check what it did, and request it again"
CUT_OFF = "Attempt {attempt} was being sent when the restored backup was made, so its outcome is not in the backup"
MAY_BE_OUT = "Unfinished in the restored backup: it may have been published since the backup was made"
NOT_IN_BACKUP = "Newer than the restored backup and known only from Redis: it may have been published"
REDIS_SAYS = "{message}; Redis says: {outcome}"
LONGEST = 500  # characters of Redis's text


def end_of_send(task_id: str, attempt: int, started_at: str | None, now_ms: int) -> TaskRecord:
    """The end of a task that was being sent when the backup was made: unknown."""
    message = CUT_OFF.format(attempt=attempt)
    cut_off = Attempt(
        number=attempt,
        started_at=started_at or "",
        outcome=TaskStatus.UNKNOWN,
        error_class=ErrorClass.RESTORED,
        error=message,
        evidence=Evidence(phase=SendPhase.SENDING, bytes_sent=BytesSent.NOT_KNOWN),
    )
    return msgspec.structs.replace(_unknown_end(task_id, message, now_ms), attempt=cut_off)


def end_of_held(task_id: str, result: QueuedJob | None, now_ms: int) -> TaskRecord:
    """The end of a held task that will not run: a success if Redis has that result, else unknown."""
    return _end(task_id, result, MAY_BE_OUT, now_ms)


def end_of_unrecorded(task_id: str, job: QueuedJob, columns: TaskColumns | None, now_ms: int) -> TaskRecord:
    """The record of a task that only Redis knows. `columns` are those of its data; None if the data cannot be read."""
    return msgspec.structs.replace(
        _end(task_id, job if job.success is not None else None, NOT_IN_BACKUP, now_ms),
        task_data=job.task_data,
        columns=columns,
        priority=job.priority,
        retry_of=job.retry_of,
        queued_at_ms=job.enqueued_at_ms or now_ms,
    )


def _end(task_id: str, result: QueuedJob | None, message: str, now_ms: int) -> TaskRecord:
    """A success in Redis is certain. Anything else leaves the outcome unknown."""
    if result is None or not result.success:
        told = None if result is None or result.outcome is None else str(result.outcome)[:LONGEST]
        message = message if told is None else REDIS_SAYS.format(message=message, outcome=told)
        return _unknown_end(task_id, message, now_ms)
    outcome: dict[str, Any] = result.outcome if isinstance(result.outcome, dict) else {}
    detail = outcome.get("detail")
    return TaskRecord(
        task_id=task_id,
        status=TaskStatus.SUCCESS,
        finished_at_ms=result.finished_at_ms or now_ms,
        result=None if detail is None else msgspec.json.encode(detail).decode(),
        provider_post_id=outcome.get("provider_post_id"),
        publish_url=outcome.get("publish_url"),
    )


def _unknown_end(task_id: str, message: str, now_ms: int) -> TaskRecord:
    return TaskRecord(
        task_id=task_id,
        status=TaskStatus.UNKNOWN,
        finished_at_ms=now_ms,
        error_class=ErrorClass.RESTORED,
        error_message=message,
    )
