"""Retrying a chunk of tasks: the decision is that of `actions/retry.py`, the data comes from SQLite itself."""

from collections.abc import Sequence

import structlog

from everpost.actions.bulk.steps import Chunk, unreachable, withdraw_tasks, withdrawn_of
from everpost.actions.publish import Intake
from everpost.actions.retry import Recovered, Recovery, RedisTier, recovered_from_table, stand_in_for
from everpost.clock import Clock
from everpost.errors import ServiceError, TaskNotFound
from everpost.queue.client import TaskQueue
from everpost.store.sqlite.tasks.candidates import Candidate, Candidates
from everpost.store.sqlite.tasks.chunks import Outcome, outcome_of, retry_chunk
from everpost.store.sqlite.tasks.resubmission import Resubmission
from everpost.task.place import Place, Position
from everpost.task.retry_rules import RetryAction, RetryDecision, decide_retry

log = structlog.get_logger("everpost.bulk")


class RetryStep:
    """Writes a retry of each task down, then queues the retries.

    Args:
        batch_id: What the retries are found by.
        newest_only: Leave out a task that was retried later: of a chain, only its newest is retried, so that a filter
            that matches both a task and its failed retry does not publish twice.
    """

    def __init__(
        self,
        *,
        candidates: Candidates,
        recovery: Recovery,
        queue: TaskQueue,
        intake: Intake,
        clock: Clock,
        batch_id: str,
        force: bool,
        newest_only: bool,
    ) -> None:
        self._candidates = candidates
        self._recovery = recovery
        self._redis = RedisTier(queue)
        self._queue = queue
        self._intake = intake
        self._clock = clock
        self._batch_id = batch_id
        self._force = force
        self._newest_only = newest_only

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`; that a worker holds a task shows only when it is done."""
        ready, refused = await self._ready(task_ids)
        return [*refused, *(self._foreseen(candidate, wanted) for candidate, wanted in ready)]

    async def prepare(self, task_ids: Sequence[str]) -> Chunk:
        """See `Step`."""
        self._intake.room.check()
        ready, refused = await self._ready(task_ids)
        waiting = [
            candidate.task_id
            for candidate, wanted in ready
            if self._decide(wanted.stand_in, candidate.relatives, withdrawn=False).action is RetryAction.WITHDRAW
        ]
        answers = await withdraw_tasks(self._queue, waiting)
        refused += unreachable(answers)
        known = {outcome.task_id for outcome in refused}
        left = [wanted for candidate, wanted in ready if candidate.task_id not in known]
        return Chunk(refused, retry_chunk(left, withdrawn_of(answers), self._clock(), self._decide_any))

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """See `Step`."""
        tasks = [outcome.new_task for outcome in outcomes if outcome.new_task is not None]
        if tasks:
            await self._intake.enqueue_tasks(tasks)
            log.debug("tasks.recovered", batch_id=self._batch_id, tasks=len(tasks))

    async def _ready(self, task_ids: Sequence[str]) -> tuple[list[tuple[Candidate, Resubmission]], list[Outcome]]:
        """The tasks a new one can be made of, and what becomes of the others."""
        ready: list[tuple[Candidate, Resubmission]] = []
        refused: list[Outcome] = []
        candidates = await self._candidates.find(task_ids, whole=True)
        in_redis = await self._redis.find_all([one.task_id for one in candidates if one.payload is None])
        for candidate in candidates:
            try:
                ready.append((candidate, self._resubmission(candidate, in_redis.get(candidate.task_id))))
            except ServiceError as error:
                refused.append(Outcome(task_id=candidate.task_id, reason=error.code))
        return ready, refused

    def _resubmission(self, candidate: Candidate, in_redis: Recovered | None) -> Resubmission:
        """Raises TaskNotFound if no tier has its data, TaskUnreadable, UnknownPlatform, or InvalidValue."""
        found = in_redis
        if candidate.payload is not None:
            place = Place.HISTORY if candidate.position is None else candidate.position.place
            found = recovered_from_table(candidate.task_id, place, candidate.payload)
        if found is None or not found.task_data:
            raise TaskNotFound(candidate.task_id)
        task, _ = self._recovery.new_task(found, self._batch_id)
        return Resubmission(candidate.position or stand_in_for(candidate.task_id, found), task)

    def _foreseen(self, candidate: Candidate, wanted: Resubmission) -> Outcome:
        decision = self._decide(wanted.stand_in, candidate.relatives, withdrawn=True)
        return outcome_of(candidate.task_id, decision, None)  # thousands of outcomes are kept, their data is not

    def _decide_any(self, task: Position, relatives: Sequence[Position], withdrawn: bool) -> RetryDecision:
        return self._decide(task, relatives, withdrawn=withdrawn)

    def _decide(self, task: Position, relatives: Sequence[Position], *, withdrawn: bool) -> RetryDecision:
        decision = decide_retry(task, relatives, force=self._force, withdrawn=withdrawn)
        if self._newest_only and decision.action is not RetryAction.REFUSE and _is_superseded(task, relatives):
            return RetryDecision(RetryAction.REFUSE)
        return decision


def _is_superseded(task: Position, relatives: Sequence[Position]) -> bool:
    """Whether a later retry of the chain has ended."""
    return any(other.generation > task.generation and other.place is not Place.LEDGER for other in relatives)
