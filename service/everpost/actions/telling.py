"""Tells readers of events of the changes that people make: docs/events.md."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import assert_never

from everpost.pace import Pace
from everpost.queue.event_teller import EventTeller, Told
from everpost.store.archive import Reason
from everpost.store.changes import BringBack, Cancel, Change, Changes, Edit, Outcome, Remove, Resolve, Retry
from everpost.task.candidate import Candidate


class ToldChanges:
    """The store's `changes`, which also tell readers of events what they have done."""

    def __init__(self, changes: Changes, events: EventTeller) -> None:
        self._changes = changes
        self._events = events

    async def find(self, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
        """See `everpost.store.changes.Changes`."""
        return await self._changes.find(task_ids, whole=whole)

    async def apply(self, change: Change, now_ms: int, pace: Pace | None = None) -> list[Outcome]:
        """See `everpost.store.changes.Changes`."""
        async with telling(self._events, change) as outcomes:
            outcomes.extend(await self._changes.apply(change, now_ms, pace))
        return outcomes


@asynccontextmanager
async def telling(events: EventTeller, change: Change | None) -> AsyncIterator[list[Outcome]]:
    """Tell of a change that is made in this context; the caller adds its outcomes.

    A retry is told when its new task is queued. Archiving a task because of its age is not told: its status stays.
    """
    outcomes: list[Outcome] = []
    told = None if change is None else _told(change)
    if told is None:
        yield outcomes
        return
    async with events.telling(*told) as done:
        yield outcomes
        done.extend(outcome.task_id for outcome in outcomes if outcome.reason is None and outcome.task_id in told[1])


def _told(change: Change) -> tuple[Told, Sequence[str]] | None:
    match change:
        case Cancel():
            return Told.ENDED, change.task_ids
        case Edit():
            return Told.EDITED, [*change.versions]
        case Remove(reason=Reason.DELETED):
            return Told.REMOVED, change.task_ids
        case Resolve():
            return Told.RESOLVED, [decided.task_id for decided in change.decided]
        case BringBack():
            return Told.BROUGHT_BACK, change.task_ids
        case Retry() | Remove():
            return None
    assert_never(change)
