"""Moves ended tasks to the archive, one or many."""

from collections.abc import Sequence

from everpost.actions.step import Apply
from everpost.clock import Clock
from everpost.errors import Conflict, TaskNotFound
from everpost.store.archive import Reason
from everpost.store.changes import Changes, Outcome, Remove, outcome_of_removal
from everpost.task.removal_rules import Removal, decide_removal
from everpost.task.resolution_rules import UNSAID, Grounds


class RemoveStep:
    """Moves ended tasks to the archive; see `everpost.actions.step.Step`."""

    def __init__(self, changes: Changes, reason: Reason) -> None:
        self._changes = changes
        self._reason = reason

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`."""
        found = await self._changes.find(task_ids, whole=False)
        return [outcome_of_removal(task.task_id, decide_removal(task.position)) for task in found]

    async def run(self, task_ids: Sequence[str], apply: Apply) -> list[Outcome]:
        """See `Step`."""
        return await apply(Remove(task_ids, self._reason, decide_removal), ())


class Removals:
    """Removes single tasks."""

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock

    async def remove_task(self, task_id: str, grounds: Grounds = UNSAID) -> bool:
        """Move an ended task to the archive; return False if it is already there.

        Raises:
            TaskNotFound: The store does not have it.
            Conflict: It has not ended.
        """
        change = Remove([task_id], Reason.DELETED, decide_removal, grounds.entry)
        (outcome,) = await self._changes.apply(change, self._clock())
        if outcome.reason == Removal.NOT_FOUND:
            raise TaskNotFound(task_id)
        if outcome.reason == Removal.UNFINISHED:
            raise Conflict("The task has not ended; cancel it first.", task_id)
        return outcome.reason is None
