"""Deciding about a task whose outcome nobody knows: it succeeded, or it is sent again. The first decision counts."""

import structlog

from everpost.actions.retry import Recovery
from everpost.clock import Clock
from everpost.errors import AlreadyDecided, NothingToDecide, TaskNotFound
from everpost.store.history import History
from everpost.store.sqlite.tasks.decisions import Decisions
from everpost.task.resolution_rules import Decided, Grounds

log = structlog.get_logger("everpost.resolution")


class Resolution:
    """Takes decisions, and keeps them."""

    def __init__(self, decisions: Decisions, history: History, recovery: Recovery, clock: Clock) -> None:
        self._decisions = decisions
        self._history = history
        self._recovery = recovery
        self._clock = clock

    async def mark_succeeded(
        self, task_id: str, grounds: Grounds, *, provider_post_id: str | None = None, publish_url: str | None = None
    ) -> Decided:
        """Have the task be a success: somebody found the post.

        Raises:
            TaskNotFound: No table has it.
            AlreadyDecided: Somebody else was first.
            NothingToDecide: Its outcome is not unknown.
        """
        decided = await self._decisions.mark_succeeded(
            task_id, grounds, self._clock(), provider_post_id=provider_post_id, publish_url=publish_url
        )
        if decided is None:
            raise await self._refusal(task_id)
        log.info("task.resolved", task_id=task_id, decision=decided.decision, by=grounds.by)
        return decided

    async def send_again(self, task_id: str, grounds: Grounds) -> Decided:
        """Run the task again as a new one: somebody found no post. Errors as in `mark_succeeded`, and those below.

        Raises:
            UnknownPlatform: The catalogue no longer has its platform.
            DiskFull: The disk has too little room for new tasks.
        """
        try:
            retried = await self._recovery.send_again(task_id, grounds)
        except NothingToDecide as error:
            raise await self._refusal(task_id) from error
        (decided,) = [one for one in await self._decisions.find(task_id) if one.new_task_id == retried.new_task_id]
        log.info("task.resolved", task_id=task_id, decision=decided.decision, by=grounds.by)
        return decided

    async def _refusal(self, task_id: str) -> AlreadyDecided | NothingToDecide | TaskNotFound:
        taken = [decided for decided in await self._decisions.find(task_id) if decided.task_id == task_id]
        if taken:
            return taken[-1].as_refusal()
        task = await self._history.find_task(task_id)
        return TaskNotFound(task_id) if task is None else NothingToDecide(task_id, task.status)
