"""Moves ended tasks to the archive, one or many."""

from collections.abc import Sequence

from everpost.actions.step import Apply
from everpost.clock import Clock, from_text
from everpost.errors import Conflict, TaskNotFound
from everpost.store.archive import Archive, Reason
from everpost.store.changes import BringBack, Changes, Outcome, Remove, outcome_of_removal
from everpost.store.operations import Operation
from everpost.task.removal_rules import Removal, decide_removal
from everpost.task.resolution_rules import UNSAID, Grounds

AT_ONCE = 500  # tasks of one transaction
MOST_BACK = 20_000  # tasks that one request brings back


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

    async def bring_back(self, task_id: str, grounds: Grounds = UNSAID) -> None:
        """Move a removed task back into the history, unchanged.

        Raises:
            TaskNotFound: The store does not have it.
            Conflict: It is not in the archive, or was archived because of its age.
        """
        (outcome,) = await self._changes.apply(BringBack([task_id], grounds.entry), self._clock())
        if outcome.reason is None:
            return
        (found,) = await self._changes.find([task_id], whole=False)
        raise TaskNotFound(task_id) if found.position is None else Conflict("The task was not removed.", task_id)

    async def bring_back_removed(self, archive: Archive, operation: Operation) -> tuple[int, bool]:
        """Move the tasks back that an operation removed, at most `MOST_BACK`; how many, and whether these are all."""
        operation_id = operation.operation_id
        from_ms, until_ms = from_text(operation.created_at) or 0, from_text(operation.updated_at) or 0
        came_back, refused = 0, set[str]()
        while came_back < MOST_BACK:
            found = await archive.page_removed(operation_id, from_ms, until_ms, AT_ONCE + len(refused))
            task_ids = [task_id for task_id in dict.fromkeys(found) if task_id not in refused]
            if not task_ids:
                return came_back, True
            outcomes = await self._changes.apply(BringBack(task_ids), self._clock())
            refused |= {outcome.task_id for outcome in outcomes if outcome.reason is not None}
            came_back += sum(outcome.reason is None for outcome in outcomes)
        return came_back, False
