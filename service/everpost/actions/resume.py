"""Ends the pause after a restore: combines what the restored database and Redis know, and decides about the held tasks.

Redis may be the one from before the restore, and newer than the backup. Its results show how tasks ended that are
unfinished in the backup, and it may have tasks the backup does not have.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from enum import StrEnum

import msgspec
import structlog

from everpost.clock import Clock, from_text
from everpost.errors import InvalidValue
from everpost.queue.task_queue import TaskQueue
from everpost.store import Store
from everpost.store.pause import Pause, end_pause, find_pause
from everpost.task.callbacks import is_callback
from everpost.task.model import TaskColumns, TaskStatus, columns_of
from everpost.task.queued_job import QueuedJob
from everpost.task.restore_rules import end_of_held, end_of_unrecorded
from everpost.task.submission import decoded_data

log = structlog.get_logger("everpost.resume")

CHUNK = 500
WORKERS_MS = 3_000  # after a promotion: workers have found the new server, and have recorded again what it lacks

Scan = Callable[[int], Awaitable[tuple[int, list[str]]]]
Find = Callable[[list[str]], Awaitable[dict[str, QueuedJob]]]


class Unfinished(StrEnum):
    """What happens to tasks that may have been published since the backup."""

    UNKNOWN = "unknown"  # a person decides about each
    RUN = "run"  # they run, some perhaps a second time


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to the tasks; for a dry run, what would happen.

    Attributes:
        pause: None if dispatch was not paused.
        succeeded: Held tasks that were published, according to Redis.
        unknown: Held tasks a person must decide about.
        released: Held tasks that run.
        recovered: Tasks that are not in the backup, recorded from what Redis knows about them.
    """

    pause: Pause | None = None
    succeeded: int = 0
    unknown: int = 0
    released: int = 0
    recovered: int = 0


class Resumption:
    """Ends a pause. An interrupted call can be repeated, because the last step ends the pause."""

    def __init__(self, store: Store, queue: TaskQueue, clock: Clock) -> None:
        self._meta = store.meta
        self._held_tasks = store.held
        self._changes = store.changes
        self._ledger = store.ledger
        self._queue = queue
        self._clock = clock

    async def resume(self, unfinished: Unfinished, *, dry_run: bool = False) -> Resumed:
        """Decide about all held tasks, and let workers take tasks.

        Raises:
            QueueUnreachable: Redis, which may know more than the backup, does not answer; dispatch stays paused.
        """
        pause = await find_pause(self._meta)
        if pause is None:
            return Resumed()
        await self._await_workers(pause)
        counts = await self._let_go(unfinished, dry_run=dry_run)
        recovered = await self._record_found(pause, unfinished, dry_run=dry_run)
        resumed = Resumed(pause=pause, recovered=recovered, **counts)
        if not dry_run:
            await self._queue.events.break_off()  # readers of events were told of later states
            await end_pause(self._meta)
            log.warning("dispatch.resumed", unfinished=unfinished, backup=pause.backup, recovered=recovered, **counts)
        return resumed

    async def _await_workers(self, pause: Pause) -> None:
        """Wait for workers that remember what a promoted server lacks. Unlike Redis, they have data of ended tasks."""
        if pause.while_running:
            passed_ms = self._clock() - (from_text(pause.restored_at) or 0)
            await asyncio.sleep(min(max(0, WORKERS_MS - passed_ms), WORKERS_MS) / 1000)

    async def _let_go(self, unfinished: Unfinished, *, dry_run: bool) -> dict[str, int]:
        counts = {"succeeded": 0, "unknown": 0, "released": 0}
        async for task_ids in self._held():
            results = await self._queue.jobs.find_results(task_ids)
            released = [task_id for task_id in task_ids if task_id not in results and _may_run(task_id, unfinished)]
            ending = [task_id for task_id in task_ids if task_id in results or not _may_run(task_id, unfinished)]
            ended = [end_of_held(task_id, results.get(task_id), self._clock()) for task_id in ending]
            if not dry_run:
                await self._held_tasks.let_go(ended, released)
            succeeded = sum(record.status is TaskStatus.SUCCESS for record in ended)
            counts["succeeded"] += succeeded
            counts["unknown"] += len(ended) - succeeded
            counts["released"] += len(released)
        return counts

    async def _held(self) -> AsyncIterator[Sequence[str]]:
        cursor: str | None = None
        while True:
            task_ids, cursor = await self._held_tasks.page(cursor, CHUNK)
            yield task_ids
            if cursor is None:
                return

    async def _record_found(self, pause: Pause, unfinished: Unfinished, *, dry_run: bool) -> int:
        """Record the tasks that only Redis knows. Jobs that will run anyway are adopted when they are claimed."""
        restored_at_ms = from_text(pause.restored_at) or 0
        sources: list[tuple[Scan, Find]] = [(self._queue.jobs.page_results, self._queue.jobs.find_results)]
        if unfinished is Unfinished.UNKNOWN:
            sources.append((self._queue.jobs.page_waiting, self._queue.jobs.find_waiting))
        recovered = 0
        for scan, find in sources:
            async for jobs in self._unrecorded(scan, find):
                records = [
                    end_of_unrecorded(task_id, job, _columns_of(job.task_data), self._clock())
                    for task_id, job in jobs.items()
                    if (job.enqueued_at_ms or 0) < restored_at_ms
                ]
                if not dry_run:
                    await self._ledger.end(records)
                recovered += len(records)
        return recovered

    async def _unrecorded(self, scan: Scan, find: Find) -> AsyncIterator[Mapping[str, QueuedJob]]:
        """The tasks in Redis that the store does not know."""
        cursor = 0
        while True:
            cursor, found = await scan(cursor)
            candidates = await self._changes.find(sorted(set(found)), whole=False)
            yield await find([task.task_id for task in candidates if task.position is None])
            if not cursor:
                return


def _may_run(task_id: str, unfinished: Unfinished) -> bool:
    """Whether a held task runs. A callback always does: its receiver knows a repetition by its id."""
    return unfinished is Unfinished.RUN or is_callback(task_id)


def _columns_of(task_data: bytes | None) -> TaskColumns | None:
    try:
        return columns_of(decoded_data(task_data))
    except InvalidValue:
        return None
