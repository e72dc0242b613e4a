"""Cancelling one task: out of Redis first, then from the ledger into the history."""

import msgspec
import structlog

from everpost.clock import Clock
from everpost.errors import TaskRunning
from everpost.queue.client import TaskQueue
from everpost.store import Store
from everpost.store.sqlite.tasks.cancellation import cancel_tasks
from everpost.task.cancel_rules import CancelAction, decide_cancel
from everpost.task.model import MOVED_WITHIN_S

log = structlog.get_logger("everpost.cancel")


class Cancelled(msgspec.Struct, frozen=True):
    """The answer to a cancellation.

    Attributes:
        cancelled: False if a worker holds the task and was asked to stop it, which it may be too late for.
    """

    task_id: str
    cancelled: bool


class Cancellation:
    """Cancels tasks that wait; with force, asks the worker to stop one that runs."""

    def __init__(self, store: Store, queue: TaskQueue, clock: Clock) -> None:
        self._database = store.database
        self._candidates = store.candidates
        self._queue = queue
        self._clock = clock

    async def cancel_task(self, task_id: str, *, force: bool = False) -> Cancelled:
        """Cancel a task for good. Done again, it raises `TaskEnded`.

        Raises:
            TaskNotFound: No table has the id.
            TaskEnded: There is nothing to cancel any more.
            TaskRunning: A worker holds it, and `force` is not set.
            QueueUnreachable: Redis, down, cannot say whether a worker holds it.
        """
        candidate = (await self._candidates.find([task_id], whole=False))[0]
        decision = decide_cancel(task_id, candidate.position, force=force)
        if decision.refusal is not None:
            raise decision.refusal
        if decision.action is CancelAction.ABORT or (
            decision.action is CancelAction.WITHDRAW and not await self._queue.withdraw_task(task_id)
        ):
            return await self._abort(task_id, force=force)
        await self._record(task_id)
        return Cancelled(task_id, cancelled=True)

    async def _abort(self, task_id: str, *, force: bool) -> Cancelled:
        if not force:
            raise TaskRunning(task_id)
        await self._queue.abort_task(task_id)
        log.info("task.abort_requested", task_id=task_id)
        return Cancelled(task_id, cancelled=False)

    async def _record(self, task_id: str) -> None:
        now_ms = self._clock()
        refused = await self._database.write(
            lambda connection: cancel_tasks(connection, [task_id], {task_id}, now_ms), within_s=MOVED_WITHIN_S
        )
        if task_id in refused:
            raise refused[task_id]
        log.info("task.cancelled", task_id=task_id)
