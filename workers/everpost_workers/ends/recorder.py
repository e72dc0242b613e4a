"""The on-complete hook: every end of a job becomes a row of the history before Redis forgets the job (I3)."""

import logging
from collections.abc import Collection, Mapping, Sequence

import structlog

from everpost.errors import ServiceError
from everpost.failpoints import failpoint
from everpost.queue.enqueuer import Enqueuer
from everpost.store import Store
from everpost.task.callbacks import MEMBER
from everpost.task.model import TaskRecord, TaskStatus
from everpost.task.resolution_rules import sent_again_as
from everpost_workers.attempts.attempt import EndedTask
from everpost_workers.ends.recent import RecentEnds
from everpost_workers.ends.record import attempt_of, record_of, split_overtaken, with_data
from everpost_workers.metrics import WorkerMetrics

LOGGER = "everpost.worker"
log = structlog.get_logger(LOGGER)


class EndRecorder:
    """Records how jobs ended.

    Args:
        recent: Where the ends are remembered too; None if the database cannot lose what it has taken.
        enqueuer: Queues callbacks at once; without it, the relay does it some seconds later.
    """

    def __init__(
        self,
        store: Store,
        metrics: WorkerMetrics,
        *,
        worker_id: str,
        recent: RecentEnds | None = None,
        enqueuer: Enqueuer | None = None,
    ) -> None:
        self._ledger = store.ledger
        self._history = store.history
        self._metrics = metrics
        self._worker_id = worker_id
        self._recent = recent
        self._relay = store.relay
        self._enqueuer = enqueuer

    async def record(self, outcomes: Sequence[EndedTask]) -> None:
        """Write the outcomes into the history, all in one transaction.

        Raises:
            ServiceError: The database does not accept them now.
        """
        made = [record_of(outcome, self._worker_id) for outcome in outcomes]
        records, overtaken = split_overtaken(outcomes, made)
        ended = {record.task_id: outcome for outcome, record in zip(outcomes, made, strict=True)}
        failpoint("record.before")
        late = await self._ledger.end(records, overtaken, lambda record: with_data(record, ended[record.task_id]))
        failpoint("record.after")
        if self._recent is not None:
            self._recent.note([with_data(record, ended[record.task_id]) for record in records])
        await self._queue_callbacks(outcomes, made)
        for record in overtaken:
            log.warning("task.overtaken", task_id=record.task_id, status=record.status)
        platforms = {task_id: attempt_of(outcome).platform for task_id, outcome in ended.items()}
        _tell(records, platforms)
        self._count(platforms, [*records, *overtaken], ended_before={*late, *(record.task_id for record in overtaken)})
        if late:
            log.warning("task.completed_late", task_ids=late)
            await self._warn_of_second_posts(late, records)

    async def _queue_callbacks(self, outcomes: Sequence[EndedTask], records: Sequence[TaskRecord]) -> None:
        """Queue the callbacks that were written with these ends. If this fails, the relay does it."""
        told = [
            record.task_id
            for outcome, record in zip(outcomes, records, strict=True)
            if (data := attempt_of(outcome).data) is not None and MEMBER in data
        ]
        if not told or self._enqueuer is None:
            return
        try:
            found = await self._relay.callbacks(told)
            if found.tasks:
                await self._enqueuer.enqueue_tasks(found.tasks)
        except ServiceError as error:
            log.warning("callbacks.not_queued", error=error.message)

    def whole_records_of(self, outcomes: Sequence[EndedTask]) -> tuple[list[TaskRecord], list[TaskRecord]]:
        """As `split_overtaken`, with the data of every task, because the database that takes them may have no row."""
        return split_overtaken(
            outcomes, [with_data(record_of(outcome, self._worker_id), outcome) for outcome in outcomes]
        )

    async def take_in(self, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord]) -> list[str]:
        """Record what another worker could not; return the ids of tasks whose end was already recorded.

        Raises:
            ServiceError: The database does not accept it yet.
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
        """Log the posts that succeeded after a person had sent them again: there may be two of each."""
        succeeded = {record.task_id for record in records if record.status is TaskStatus.SUCCESS}
        for task_id in succeeded.intersection(late):
            task = await self._history.find_task(task_id)
            new_task_id = sent_again_as(task_id, task.decisions) if task else None
            if new_task_id is not None:
                log.error("task.accepted_and_sent_again", task_id=task_id, new_task_id=new_task_id)


_LEVELS = {TaskStatus.SUCCESS: logging.DEBUG, TaskStatus.CANCELLED: logging.INFO}


def _tell(records: Sequence[TaskRecord], platforms: Mapping[str, str | None]) -> None:
    """Log how tasks ended: failures as warnings, successes at debug level (checked once, for speed)."""
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
