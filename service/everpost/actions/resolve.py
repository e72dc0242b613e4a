"""Resolves tasks of unknown outcome: a task succeeded, or is sent again. The first decision counts."""

from collections.abc import Sequence

import msgspec
import structlog

from everpost.actions.retry import Retries
from everpost.actions.step import Apply
from everpost.clock import Clock, to_text
from everpost.errors import NothingToDecide, TaskNotFound
from everpost.store.changes import Changes, Outcome, Resolve, refused
from everpost.store.history import History
from everpost.task.model import TaskStatus
from everpost.task.resolution_rules import Decided, DecisionKind, Grounds, decide_resolution, standing_decision

log = structlog.get_logger("everpost.resolution")


def succeeded(task_id: str, grounds: Grounds, now_ms: int) -> Decided:
    """The decision that a post is there."""
    return Decided(
        task_id=task_id,
        decision=DecisionKind.SUCCEEDED,
        status_before=TaskStatus.UNKNOWN,
        decided_at=to_text(now_ms),
        decided_by=grounds.by,
        why=grounds.why,
    )


class ResolveStep:
    """Makes unknown tasks successes; see `everpost.actions.step.Step`."""

    def __init__(self, changes: Changes, grounds: Grounds, clock: Clock) -> None:
        self._changes = changes
        self._grounds = grounds
        self._clock = clock

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`."""
        found = await self._changes.find(task_ids, whole=False)
        return [
            Outcome(task_id=task.task_id) if refusal is None else refused(task.task_id, refusal)
            for task in found
            for refusal in [decide_resolution(task.task_id, task.position, ())]
        ]

    async def run(self, task_ids: Sequence[str], apply: Apply) -> list[Outcome]:
        """See `Step`."""
        now_ms = self._clock()
        decided = [succeeded(task_id, self._grounds, now_ms) for task_id in task_ids]
        return await apply(Resolve(decided, decide_resolution), ())


class Resolutions:
    """Takes and keeps decisions."""

    def __init__(self, changes: Changes, history: History, retries: Retries, clock: Clock) -> None:
        self._changes = changes
        self._history = history
        self._retries = retries
        self._clock = clock

    async def mark_succeeded(
        self, task_id: str, grounds: Grounds, *, provider_post_id: str | None = None, publish_url: str | None = None
    ) -> Decided:
        """Make the task a success, because the post was found.

        Raises:
            TaskNotFound: The store does not have it.
            AlreadyDecided: Another decision came first.
            NothingToDecide: Its outcome is not unknown.
        """
        now_ms = self._clock()
        decided = succeeded(task_id, grounds, now_ms)
        decided = msgspec.structs.replace(decided, provider_post_id=provider_post_id, publish_url=publish_url)
        (outcome,) = await self._changes.apply(Resolve([decided], decide_resolution, grounds.entry), now_ms)
        if outcome.refusal is not None:
            raise outcome.refusal
        log.info("task.resolved", task_id=task_id, decision=decided.decision, by=grounds.by)
        return decided

    async def send_again(self, task_id: str, grounds: Grounds) -> Decided:
        """Run the task again, because the post was not found. Raises the errors of `mark_succeeded`, and these.

        Raises:
            UnknownPlatform: The catalogue no longer has its platform.
            DiskFull: The disk has too little room for new tasks.
        """
        try:
            decided = await self._retries.send_again(task_id, grounds)
        except NothingToDecide as error:
            task = await self._history.find_task(task_id)
            if task is None:
                raise TaskNotFound(task_id) from error
            standing = standing_decision(task_id, task.decisions)
            if standing is None:
                raise
            raise standing.as_refusal() from error
        log.info("task.resolved", task_id=task_id, decision=decided.decision, by=grounds.by)
        return decided
