"""Makes the history's record of a task from the end of its job; pure functions."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from everpost.clock import to_text
from everpost.errors import InvalidValue
from everpost.publishing.raised import message_of, text_of
from everpost.queue.codec import encoded_data, priority_of, publish_arguments
from everpost.task.model import Attempt, ErrorClass, TaskRecord, TaskStatus, columns_of
from everpost_workers.attempts.adoption import UNREADABLE, task_id_of
from everpost_workers.attempts.attempt import AttemptState, EndedTask, PublishFailedError
from everpost_workers.engine import OutcomeReason


class End(NamedTuple):
    """How an attempt or a task ended."""

    status: TaskStatus
    error_class: ErrorClass | None = None
    message: str | None = None


_ENDS = {
    OutcomeReason.COMPLETE: (TaskStatus.SUCCESS, None),
    OutcomeReason.FAILED: (TaskStatus.FAILED, ErrorClass.PERMANENT),
    OutcomeReason.TIMEOUT: (TaskStatus.FAILED, ErrorClass.TRANSIENT),
    OutcomeReason.ABORTED: (TaskStatus.CANCELLED, ErrorClass.CANCELLED),
    OutcomeReason.EXPIRED: (TaskStatus.FAILED, ErrorClass.EXPIRED),
    OutcomeReason.UNDECODABLE: (TaskStatus.FAILED, ErrorClass.UNREADABLE),
    OutcomeReason.UNKNOWN_FUNCTION: (TaskStatus.FAILED, ErrorClass.INVALID),
    OutcomeReason.TRIES_EXHAUSTED: (TaskStatus.UNKNOWN, ErrorClass.CRASHED),
}
_CUT_OFF = frozenset({OutcomeReason.TIMEOUT, OutcomeReason.ABORTED})


def record_of(outcome: EndedTask, worker_id: str) -> TaskRecord:
    """The record of a task whose job has ended."""
    claim = outcome.claim
    attempt = attempt_of(outcome)
    attempt_end = _end_of_attempt(outcome, attempt)
    end = end_of_task(attempt_end, attempt)
    result = attempt.result
    record = TaskRecord(
        task_id=task_id_of(outcome.job_id),
        status=end.status,
        columns=None if attempt.data is None else columns_of(attempt.data),
        priority=priority_of(publish_arguments(claim.args, claim.kwargs)),
        queued_at_ms=claim.enqueue_time_ms or None,
        started_at_ms=outcome.start_ms,
        finished_at_ms=outcome.finish_ms,
        attempt=_record_of_attempt(outcome, attempt, attempt_end, worker_id),
        error_class=end.error_class,
        error_message=end.message,
        result=msgspec.json.encode(result.detail).decode() if result else None,
        provider_post_id=result.provider_post_id if result else None,
        publish_url=result.publish_url if result else None,
        file_ids=attempt.file_ids,
    )
    return with_data(record, outcome) if attempt.facts is None else record


def with_data(record: TaskRecord, outcome: EndedTask) -> TaskRecord:
    """The record with the data the task ran with; with the whole message if the job has no readable data."""
    task_data, raw_job = _data_of(outcome)
    return msgspec.structs.replace(record, task_data=task_data, raw_job=raw_job)


def attempt_of(outcome: EndedTask) -> AttemptState:
    """The attempt; an empty one for a queue entry that the claim hook has not seen."""
    claim = outcome.claim
    return claim.context or AttemptState(task_id=claim.job_id, claims=claim.job_try, facts=None, number=claim.job_try)


def split_overtaken(
    outcomes: Sequence[EndedTask], records: Sequence[TaskRecord]
) -> tuple[list[TaskRecord], list[TaskRecord]]:
    """The records that end their tasks, and those of overtaken attempts that failed: another worker ends these tasks.

    Args:
        records: One for each outcome.
    """
    if not any(outcome.fenced for outcome in outcomes):
        return list(records), []
    ending: list[TaskRecord] = []
    overtaken: list[TaskRecord] = []
    for outcome, record in zip(outcomes, records, strict=True):
        (ending if outcome.success or not outcome.fenced else overtaken).append(record)
    return ending, overtaken


def end_of_task(attempt_end: End, attempt: AttemptState) -> End:
    """The task's end: its last attempt's, unless that failed and an earlier one may have been accepted (I6)."""
    open_attempts = attempt.earlier.open
    if not open_attempts or attempt_end.status in {TaskStatus.SUCCESS, TaskStatus.UNKNOWN}:
        return attempt_end
    message = f"Attempt {open_attempts[-1].number} may have been accepted; then: {attempt_end.message}"
    return End(TaskStatus.UNKNOWN, ErrorClass.UNKNOWN, message)


def _end_of_attempt(outcome: EndedTask, attempt: AttemptState) -> End:
    error = outcome.result
    if isinstance(error, PublishFailedError):
        return End(error.status, error.error_class, error.message)
    status, error_class = _ENDS[outcome.reason]
    if status is TaskStatus.SUCCESS:
        return End(status)
    if attempt.sending is not None and outcome.reason in _CUT_OFF:
        message = f"The attempt was {'cancelled' if outcome.reason is OutcomeReason.ABORTED else 'cut off'} mid-send."
        return End(TaskStatus.UNKNOWN, ErrorClass.UNKNOWN, message)
    if isinstance(error, asyncio.CancelledError):
        return End(status, error_class, "Cancelled before it was sent.")
    why = f": {text_of(error.__cause__)}" if outcome.reason is OutcomeReason.UNDECODABLE and error.__cause__ else ""
    message = attempt.unsaid.hide(f"{message_of(error)}{why}")
    if attempt.sending is not None:  # a defect of Everpost, after the publisher was called (I6)
        return End(TaskStatus.UNKNOWN, ErrorClass.UNKNOWN, message)
    return End(status, error_class, message)


def _record_of_attempt(outcome: EndedTask, attempt: AttemptState, end: End, worker_id: str) -> Attempt | None:
    """The attempt in the history's form; None if none was made."""
    failure = outcome.result if isinstance(outcome.result, PublishFailedError) else None
    if failure is not None and not failure.attempted:
        return None
    return Attempt(
        number=attempt.number,
        started_at=to_text(outcome.start_ms),
        finished_at=to_text(outcome.finish_ms),
        outcome=end.status,
        error_class=end.error_class,
        error=end.message,
        worker=worker_id,
        evidence=attempt.evidence(failure.said if failure else None) if end.status is TaskStatus.UNKNOWN else None,
    )


def _data_of(outcome: EndedTask) -> tuple[bytes | None, bytes | None]:
    claim, attempt = outcome.claim, attempt_of(outcome)
    if attempt.task_data is not None:
        return attempt.task_data, None
    if outcome.reason in UNREADABLE or attempt.refusal is not None:
        return None, claim.payload
    try:
        return encoded_data(publish_arguments(claim.args, claim.kwargs).get("task_data")), None
    except InvalidValue:
        return None, claim.payload
