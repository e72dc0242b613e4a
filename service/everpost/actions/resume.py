"""Letting dispatch begin after a restore: what the restored database and Redis know together, and what becomes of it.

Redis may be the one from before, and newer than the backup: its results tell how tasks ended that the backup holds as
unfinished, and it may have tasks the backup has not heard of.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
import structlog

from everpost.clock import Clock, from_text
from everpost.errors import InvalidValue
from everpost.queue.client import TaskQueue
from everpost.queue.codec import QueuedJob, decoded_data
from everpost.store.pause import Pause
from everpost.store.sqlite.care.pause import Pauses
from everpost.task.model import ErrorClass, TaskRecord, TaskStatus, columns_of

log = structlog.get_logger("everpost.resume")

CHUNK = 500
MAY_BE_OUT = "Unfinished in a backup that was restored: it may have been published after the backup was made"
NOT_IN_BACKUP = "Newer than a backup that was restored, known from Redis alone: it may have been published"
REDIS_SAYS = "{message}; Redis says: {outcome}"
LONGEST = 500  # characters of what Redis says

Scan = Callable[[int], Awaitable[tuple[int, list[str]]]]
Find = Callable[[list[str]], Awaitable[dict[str, QueuedJob]]]


class Unfinished(StrEnum):
    """What becomes of tasks that may have been published since the backup."""

    UNKNOWN = "unknown"  # a person decides over each
    RUN = "run"  # they are published, perhaps a second time


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the tasks; of a dry run, what would.

    Attributes:
        pause: None if dispatch was not paused.
        succeeded: Held tasks that were published, as Redis knows.
        unknown: Held tasks a person has to decide over.
        released: Held tasks that run.
        recovered: Tasks the backup has not heard of, written down from what Redis has of them.
    """

    pause: Pause | None = None
    succeeded: int = 0
    unknown: int = 0
    released: int = 0
    recovered: int = 0


class Resumption:
    """Ends a pause. Whatever interrupts it, it can be asked for again: dispatch begins with the last step."""

    def __init__(self, pauses: Pauses, queue: TaskQueue, clock: Clock) -> None:
        self._pauses = pauses
        self._queue = queue
        self._clock = clock

    async def resume(self, unfinished: Unfinished, *, dry_run: bool = False) -> Resumed:
        """Decide over everything that is held, and let dispatch begin.

        Raises:
            QueueUnreachable: Redis, which may know better than the backup, does not answer; dispatch stays paused.
        """
        pause = await self._pauses.find()
        if pause is None:
            return Resumed()
        counts = await self._let_go(unfinished, dry_run=dry_run)
        recovered = await self._recover(pause, unfinished, dry_run=dry_run)
        resumed = Resumed(pause=pause, recovered=recovered, **counts)
        if not dry_run:
            await self._pauses.end()
            log.warning("dispatch.resumed", unfinished=unfinished, backup=pause.backup, recovered=recovered, **counts)
        return resumed

    async def _let_go(self, unfinished: Unfinished, *, dry_run: bool) -> dict[str, int]:
        counts = {"succeeded": 0, "unknown": 0, "released": 0}
        row = 0
        while held := await self._pauses.held_after(row, CHUNK):
            row = held[-1][0]
            task_ids = [task_id for _, task_id in held]
            results = await self._queue.find_results(task_ids)
            released = [] if unfinished is Unfinished.UNKNOWN else [task for task in task_ids if task not in results]
            ended = [
                record_of(task_id, results.get(task_id), self._clock(), MAY_BE_OUT)
                for task_id in task_ids
                if task_id not in set(released)
            ]
            if not dry_run:
                await self._pauses.let_go(ended, released)
            succeeded = sum(record.status is TaskStatus.SUCCESS for record in ended)
            counts["succeeded"] += succeeded
            counts["unknown"] += len(ended) - succeeded
            counts["released"] += len(released)
        return counts

    async def _recover(self, pause: Pause, unfinished: Unfinished, *, dry_run: bool) -> int:
        """Write down what only Redis knows; jobs that are to run anyway are adopted when they are claimed."""
        restored_at_ms = from_text(pause.restored_at) or 0
        sources: list[tuple[Scan, Find]] = [(self._queue.result_ids, self._queue.find_results)]
        if unfinished is Unfinished.UNKNOWN:
            sources.append((self._queue.job_ids, self._queue.find_jobs))
        recovered = 0
        for scan, find in sources:
            async for jobs in self._strangers(scan, find):
                records = [
                    stranger_record(task_id, job, self._clock())
                    for task_id, job in jobs.items()
                    if (job.enqueued_at_ms or 0) < restored_at_ms
                ]
                if not dry_run:
                    await self._pauses.record(records)
                recovered += len(records)
        return recovered

    async def _strangers(self, scan: Scan, find: Find) -> AsyncIterator[Mapping[str, QueuedJob]]:
        cursor = -1
        while cursor:
            cursor, found = await scan(max(cursor, 0))
            strangers = await self._pauses.strangers_among(found)
            yield await find(sorted(strangers))


def record_of(task_id: str, result: QueuedJob | None, now_ms: int, message: str) -> TaskRecord:
    """How a task ended, as far as Redis has its result: a success it can be told to be, anything else is uncertain."""
    if result is None or not result.success:
        told = None if result is None or result.outcome is None else str(result.outcome)[:LONGEST]
        return TaskRecord(
            task_id=task_id,
            status=TaskStatus.UNKNOWN,
            finished_at_ms=now_ms,
            error_class=ErrorClass.RESTORED,
            error_message=message if told is None else REDIS_SAYS.format(message=message, outcome=told),
        )
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


def stranger_record(task_id: str, job: QueuedJob, now_ms: int) -> TaskRecord:
    """The whole of a task that only Redis knows."""
    try:
        columns = columns_of(decoded_data(job.task_data))
    except InvalidValue:
        columns = None
    return msgspec.structs.replace(
        record_of(task_id, job if job.success is not None else None, now_ms, NOT_IN_BACKUP),
        task_data=job.task_data,
        columns=columns,
        priority=job.priority,
        retry_of=job.retry_of,
        queued_at_ms=job.enqueued_at_ms or now_ms,
    )
