"""Queues the callbacks of ends that people cause, as a worker does for the ends that it records."""

from collections.abc import Sequence

import structlog

from everpost.errors import ServiceError
from everpost.pace import Pace
from everpost.queue.enqueuer import Enqueuer
from everpost.store.changes import Change, Changes, Outcome
from everpost.store.relay import Relay
from everpost.task.candidate import Candidate

log = structlog.get_logger("everpost.callbacks")


class CallbackStart:
    """Queues callbacks that the store has written. If this fails, the relay does it some seconds later."""

    def __init__(self, relay: Relay, enqueuer: Enqueuer) -> None:
        self._relay = relay
        self._enqueuer = enqueuer

    async def after(self, outcomes: Sequence[Outcome]) -> None:
        """Queue the callbacks of what a change has done. Ends without a callback cost nothing."""
        told = [task_id for outcome in outcomes for task_id in outcome.told]
        if not told:
            return
        try:
            found = await self._relay.callbacks(told)
        except ServiceError as error:
            log.warning("callbacks.not_queued", error=error.message)
            return
        if found.tasks:
            await self._enqueuer.enqueue_tasks(found.tasks)


class CallingChanges:
    """The store's `changes`, with callbacks that begin at once."""

    def __init__(self, changes: Changes, callbacks: CallbackStart) -> None:
        self._changes = changes
        self._callbacks = callbacks

    async def find(self, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
        """See `everpost.store.changes.Changes`."""
        return await self._changes.find(task_ids, whole=whole)

    async def apply(self, change: Change, now_ms: int, pace: Pace | None = None) -> list[Outcome]:
        """See `everpost.store.changes.Changes`."""
        outcomes = await self._changes.apply(change, now_ms, pace)
        await self._callbacks.after(outcomes)
        return outcomes
