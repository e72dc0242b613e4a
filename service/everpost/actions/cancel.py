"""Cancels tasks, one or many: takes them out of Redis first, then moves them from the ledger to the history."""

from collections.abc import Sequence

import msgspec
import structlog

from everpost.actions.step import Apply, withdraw_tasks
from everpost.clock import Clock
from everpost.errors import QueueUnreachable
from everpost.queue.task_queue import TaskQueue
from everpost.store.changes import Cancel, Changes, Outcome, outcome_of_cancel, refused
from everpost.task.cancel_rules import CancelAction, CancelDecision, decide_cancel
from everpost.task.candidate import Candidate
from everpost.task.place import Position
from everpost.task.resolution_rules import UNSAID, Grounds

log = structlog.get_logger("everpost.cancel")


class CancelStep:
    """Cancels waiting tasks; see `everpost.actions.step.Step`.

    With `force`, it also asks the workers to stop running tasks; such a task counts as done.
    """

    def __init__(self, changes: Changes, queue: TaskQueue, *, force: bool) -> None:
        self._changes = changes
        self._queue = queue
        self._force = force

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`."""
        found = await self._changes.find(task_ids, whole=False)
        return [_foreseen(task.task_id, self._decide(task)) for task in found]

    async def run(self, task_ids: Sequence[str], apply: Apply) -> list[Outcome]:
        """See `Step`."""
        decided, change = await self.prepare(task_ids)
        return await apply(change, decided)

    async def prepare(self, task_ids: Sequence[str]) -> tuple[list[Outcome], Cancel]:
        """Take waiting jobs out of Redis; the outcomes that are certain, and the change that gives the others."""
        decisions = {task.task_id: self._decide(task) for task in await self._changes.find(task_ids, whole=False)}
        decided = [outcome_of_cancel(*one) for one in decisions.items() if one[1].action is CancelAction.REFUSE]
        withdrawn = await withdraw_tasks(self._queue, _having(CancelAction.WITHDRAW, decisions))
        held = [*_having(CancelAction.ABORT, decisions), *(withdrawn.held if self._force else ())]
        decided += [*withdrawn.unreachable, *(await self._abort(held))]
        known = {outcome.task_id for outcome in decided}

        def rule(task_id: str, position: Position | None) -> CancelDecision:
            return decide_cancel(task_id, position, withdrawn=task_id in withdrawn.out)

        return decided, Cancel([task_id for task_id in task_ids if task_id not in known], rule)

    async def _abort(self, task_ids: Sequence[str]) -> list[Outcome]:
        """Ask the workers to stop tasks, which may be too late."""
        outcomes = []
        for task_id in task_ids:
            try:
                await self._queue.jobs.abort_task(task_id)
            except QueueUnreachable as error:
                outcomes.append(refused(task_id, error))
            else:
                outcomes.append(Outcome(task_id=task_id))
        return outcomes

    def _decide(self, task: Candidate) -> CancelDecision:
        return decide_cancel(task.task_id, task.position, force=self._force)


def _foreseen(task_id: str, decision: CancelDecision) -> Outcome:
    return Outcome(task_id=task_id) if decision.refusal is None else refused(task_id, decision.refusal)


def _having(action: CancelAction, decisions: dict[str, CancelDecision]) -> list[str]:
    return [task_id for task_id, decision in decisions.items() if decision.action is action]


class Cancellations:
    """Cancels single tasks."""

    def __init__(self, changes: Changes, queue: TaskQueue, clock: Clock) -> None:
        self._changes = changes
        self._queue = queue
        self._clock = clock

    async def cancel_task(self, task_id: str, *, force: bool = False, grounds: Grounds = UNSAID) -> bool:
        """Cancel a task permanently; False if its worker was asked to stop it, which may be too late.

        A repeated call raises `TaskEnded`.

        Raises:
            TaskNotFound: The store does not have it.
            TaskEnded: It has ended.
            TaskRunning: A worker holds it, and `force` is not set.
            TaskHeld: It is held since a restore.
            QueueUnreachable: Redis is unreachable, so it is unknown whether a worker holds it.
        """
        decided, change = await CancelStep(self._changes, self._queue, force=force).prepare([task_id])
        change = msgspec.structs.replace(change, entry=grounds.entry)
        (outcome,) = decided or await self._changes.apply(change, self._clock())
        if outcome.refusal is not None:
            raise outcome.refusal
        cancelled = not decided
        log.info("task.cancelled" if cancelled else "task.abort_requested", task_id=task_id)
        return cancelled
