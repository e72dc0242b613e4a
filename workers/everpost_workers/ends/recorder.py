"""The on-complete hook: every way a job can end becomes a row of the history, before Redis forgets the job (I3)."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence

import msgspec
import structlog

from everpost.clock import to_text
from everpost.errors import InvalidValue
from everpost.failpoints import failpoint
from everpost.publishing.raised import message_of, text_of
from everpost.queue.codec import encoded_data, priority_of, publish_arguments
from everpost.store import Store
from everpost.task.model import Attempt, ErrorClass, TaskRecord, TaskStatus, columns_of
from everpost_workers.attempts.adoption import UNREADABLE, task_id_of
from everpost_workers.attempts.attempt import ATTEMPT, AttemptState, PublishFailedError, evidence_of
from everpost_workers.engine.outcomes import JobOutcome, OutcomeReason
from everpost_workers.metrics import WorkerMetrics

LOGGER = "everpost.worker"
log = structlog.get_logger(LOGGER)

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
End = tuple[TaskStatus, ErrorClass | None, str | None]
"""Status, class and message."""

_CUT_OFF = frozenset({OutcomeReason.TIMEOUT, OutcomeReason.ABORTED})


class EndRecorder:
    """Records how jobs ended."""

    def __init__(self, store: Store, metrics: WorkerMetrics, *, worker_id: str) -> None:
        self._ledger = store.ledger
        self._history = store.history
        self._metrics = metrics
        self._worker_id = worker_id

    async def on_complete(self, outcomes: Sequence[JobOutcome]) -> None:
        """Write the outcomes into the history, all in one transaction; raises while the database does not take them."""
        made = [record_of(outcome, self._worker_id) for outcome in outcomes]
        records, overtaken = _apart(outcomes, made)
        failpoint("record.before")
        late = await self._ledger.end(records, overtaken)
        failpoint("record.after")
        for record in overtaken:
            log.warning("task.overtaken", task_id=record.task_id, status=record.status)
        platforms = {record.task_id: _platform_of(outcome) for outcome, record in zip(outcomes, made, strict=True)}
        _tell(records, platforms)
        self._count(platforms, [*records, *overtaken], ended_before={*late, *(record.task_id for record in overtaken)})
        if late:
            log.warning("task.completed_late", task_ids=late)
            await self._warn_of_second_posts(late, records)

    def records_of(self, outcomes: Sequence[JobOutcome]) -> tuple[list[TaskRecord], list[TaskRecord]]:
        """The records of tasks that ended, and of those that somebody else holds by now and ends.

        What failed here of the latter is kept all the same.
        """
        return _apart(outcomes, [record_of(outcome, self._worker_id) for outcome in outcomes])

    def whole_records_of(self, outcomes: Sequence[JobOutcome]) -> tuple[list[TaskRecord], list[TaskRecord]]:
        """The same with the data of every task: another database, as a restored one, may have no row of it."""
        data = {outcome.job_id: _data_of(outcome) for outcome in outcomes}
        records, overtaken = self.records_of(outcomes)
        whole = [
            msgspec.structs.replace(record, task_data=record.task_data or data.get(record.task_id))
            for record in records
        ]
        return whole, overtaken

    async def take_in(self, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord]) -> list[str]:
        """Record what another worker could not; the ids of those whose end was on record already.

        Raises:
            ServiceError: The database does not take it yet.
        """
        late = await self._ledger.end(records, overtaken)
        await self._warn_of_second_posts(late, records)
        self._metrics.count_ends(
            (record.columns.platform if record.columns else None, record)
            for record in records
            if record.task_id not in late
        )
        return late

    def _count(
        self, platforms: Mapping[str, str | None], records: Sequence[TaskRecord], *, ended_before: Collection[str]
    ) -> None:
        self._metrics.count_attempts(
            (platforms[record.task_id], record.attempt, record.finished_at_ms - record.started_at_ms)
            for record in records
            if record.attempt is not None and record.started_at_ms is not None
        )
        self._metrics.count_ends(
            (platforms[record.task_id], record) for record in records if record.task_id not in ended_before
        )

    async def _warn_of_second_posts(self, late: Sequence[str], records: Sequence[TaskRecord]) -> None:
        """Nobody may overlook that a post is out which a person had sent again; the task's own record says it too."""
        succeeded = {record.task_id for record in records if record.status is TaskStatus.SUCCESS}
        for task_id, new_task_id in (await self._history.find_sent_again(succeeded.intersection(late))).items():
            log.error("task.accepted_and_sent_again", task_id=task_id, new_task_id=new_task_id)


def _apart(outcomes: Sequence[JobOutcome], made: Sequence[TaskRecord]) -> tuple[list[TaskRecord], list[TaskRecord]]:
    """See `records_of`; `made` has the record of each outcome."""
    if not any(outcome.fenced for outcome in outcomes):
        return list(made), []
    records: list[TaskRecord] = []
    overtaken: list[TaskRecord] = []
    for outcome, record in zip(outcomes, made, strict=True):
        (records if outcome.success or not outcome.fenced else overtaken).append(record)
    return records, overtaken


_LEVELS = {TaskStatus.SUCCESS: logging.DEBUG, TaskStatus.CANCELLED: logging.INFO}


def _tell(records: Sequence[TaskRecord], platforms: Mapping[str, str | None]) -> None:
    """Log how tasks ended: as a warning those that failed, at debug level, which is looked up once, successes."""
    tells_all = logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG)
    for record in records:
        if not tells_all and record.status is TaskStatus.SUCCESS:
            continue
        log.log(
            _LEVELS.get(record.status, logging.WARNING),
            "task.completed",
            task_id=record.task_id,
            status=record.status,
            platform=platforms[record.task_id] or (record.columns.platform if record.columns else None),
            account_id=record.columns.account_id if record.columns else None,
            error_class=record.error_class,
            attempt=record.attempt.number if record.attempt else None,
            duration_s=(record.finished_at_ms - (record.started_at_ms or record.finished_at_ms)) / 1000,
            error=record.error_message,
        )


def _platform_of(outcome: JobOutcome) -> str | None:
    state: AttemptState | None = outcome.extra.get(ATTEMPT)
    return state.facts.platform if state and state.facts else None


def record_of(outcome: JobOutcome, worker_id: str) -> TaskRecord:
    """What the history keeps of a job's end."""
    state: AttemptState | None = outcome.extra.get(ATTEMPT)
    attempt_end = _how_the_attempt_ended(outcome, state)
    status, error_class, message = how_the_task_ended(attempt_end, state)
    arguments = publish_arguments(outcome.args, outcome.kwargs)
    result = state.result if state else None
    task_data, raw_job = _what_to_keep(outcome, state, arguments)
    return TaskRecord(
        task_id=task_id_of(outcome.job_id),
        status=status,
        task_data=task_data,
        raw_job=raw_job,
        columns=columns_of(state.data) if state and state.data is not None else None,
        priority=priority_of(arguments),
        queued_at_ms=outcome.enqueue_time_ms or None,
        started_at_ms=outcome.start_ms,
        finished_at_ms=outcome.finish_ms,
        attempt=_attempt_of(outcome, state, attempt_end, worker_id),
        error_class=error_class,
        error_message=message,
        result=msgspec.json.encode(result.detail).decode() if result else None,
        provider_post_id=result.provider_post_id if result else None,
        publish_url=result.publish_url if result else None,
    )


def _attempt_of(outcome: JobOutcome, state: AttemptState | None, end: End, worker_id: str) -> Attempt | None:
    """The attempt as the history keeps it; None if none was made."""
    status, error_class, message = end
    failure = outcome.result if isinstance(outcome.result, PublishFailedError) else None
    if failure is not None and not failure.attempted:
        return None
    return Attempt(
        number=state.number if state else outcome.job_try,
        started_at=to_text(outcome.start_ms),
        finished_at=to_text(outcome.finish_ms),
        outcome=status,
        error_class=error_class,
        error=message,
        worker=worker_id,
        evidence=evidence_of(state, failure.said if failure else None) if status is TaskStatus.UNKNOWN else None,
    )


def how_the_task_ended(attempt_end: End, state: AttemptState | None) -> End:
    """The task's end: its last attempt's, unless an earlier one may have been accepted and this one was not (I6)."""
    status, _, message = attempt_end
    if state is None or not state.earlier.open or status in {TaskStatus.SUCCESS, TaskStatus.UNKNOWN}:
        return attempt_end
    message = f"Attempt {state.earlier.open[-1].number} may have been accepted; then: {message}"
    return TaskStatus.UNKNOWN, ErrorClass.UNKNOWN, message


def _how_the_attempt_ended(outcome: JobOutcome, state: AttemptState | None) -> End:
    error = outcome.result
    if isinstance(error, PublishFailedError):
        return error.status, error.error_class, error.message
    status, error_class = _ENDS[outcome.reason]
    if status is TaskStatus.SUCCESS:
        return status, None, None
    if state is not None and state.sending is not None and outcome.reason in _CUT_OFF:
        message = f"The attempt was {'cancelled' if outcome.reason is OutcomeReason.ABORTED else 'cut off'} mid-send."
        return TaskStatus.UNKNOWN, ErrorClass.UNKNOWN, message
    if isinstance(error, asyncio.CancelledError):
        return status, error_class, "Cancelled before it was sent."
    why = f": {text_of(error.__cause__)}" if outcome.reason is OutcomeReason.UNDECODABLE and error.__cause__ else ""
    message = f"{message_of(error)}{why}"
    if state is not None and state.sending is not None:  # a defect of ours, after the publisher was called (I6)
        return TaskStatus.UNKNOWN, ErrorClass.UNKNOWN, message
    return status, error_class, message


def _data_of(outcome: JobOutcome) -> bytes | None:
    """The data the task was run with; None if it cannot be read."""
    state: AttemptState | None = outcome.extra.get(ATTEMPT)
    if state is not None and state.task_data is not None:
        return state.task_data
    try:
        return encoded_data(publish_arguments(outcome.args, outcome.kwargs).get("task_data"))
    except InvalidValue:
        return None


def _what_to_keep(
    outcome: JobOutcome, state: AttemptState | None, arguments: Mapping[str, object]
) -> tuple[bytes | None, bytes | None]:
    """Of a job without a ledger row its task data, or, where there is none that could be taken, the whole message."""
    if state is not None and state.facts is not None:
        return None, None
    if outcome.reason in UNREADABLE or (state is not None and state.refusal is not None):
        return None, outcome.payload
    try:
        return encoded_data(arguments.get("task_data")), None
    except InvalidValue:
        return None, outcome.payload
