"""Retries tasks, one or many: their data comes from the first tier that has it, the decision from the store.

Find, decide, act: the tiers (`everpost.actions.tiers`) have the data. The rule decides first on what was found, so that
a waiting task is taken out of Redis. It decides again under the store's lock, on the facts of that moment. The new
tasks are written together with this decision, and then queued.
"""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from everpost.actions.publish import Acceptance
from everpost.actions.step import Prepared, apply_to_one, withdraw_tasks
from everpost.actions.tiers import ORIGINS, Found, find_in_tiers, refusal_of_job, retry_tiers
from everpost.clock import FIRST_MS, Clock, read_time
from everpost.errors import ServiceError, TaskNotFound
from everpost.platforms import Catalogue
from everpost.queue.codec import adopted_task, decoded_data
from everpost.queue.task_queue import TaskQueue
from everpost.store.changes import Changes, Outcome, Retry, WantedRetry, outcome_of_retry, refused
from everpost.store.ledger import Ledger
from everpost.task.model import Task, new_task_id
from everpost.task.place import Position
from everpost.task.queued_job import QueuedJob
from everpost.task.resolution_rules import UNSAID, Decided, Grounds
from everpost.task.retry_rules import RetryAction, RetryDecision, decide_retry, decide_send_again

log = structlog.get_logger("everpost.recovery")

MESSAGE = "Task resubmitted to arq from {origin}"
REBUILT = "Task data rebuilt from individual fields (may be incomplete)"
DIFFERS = "Redis had other data of this task; SQLite's data was resubmitted"
UNSCHEDULED = "Its schedule_time could not be read, so it runs at once"


class RetryRule(Protocol):
    """The type of `decide_retry` and similar rules."""

    def __call__(self, task: Position, relatives: Sequence[Position], *, withdrawn: bool) -> RetryDecision:
        """Decide about a task; see `decide_retry`."""


class Ready(msgspec.Struct, frozen=True):
    """A task that can be retried: what was found, the new task, and the client's warning."""

    found: Found
    new_task: Task
    warning: str | None


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a retry. The new task may be that of an earlier retry (I5)."""

    new_task_id: str
    original_task_id: str
    source: str
    message: str
    warning: str | None = None


class RetryTools(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that retries use."""

    changes: Changes
    ledger: Ledger
    queue: TaskQueue
    acceptance: Acceptance
    catalogue: Catalogue
    clock: Clock
    zone: tzinfo


class RetryStep:
    """Retries tasks; see `everpost.actions.step.Step`.

    Args:
        batch_id: The batch id of the new tasks.
        names_redis: See `find_in_tiers`.
    """

    def __init__(
        self,
        tools: RetryTools,
        rule: RetryRule,
        *,
        grounds: Grounds = UNSAID,
        batch_id: str | None = None,
        names_redis: bool = False,
    ) -> None:
        self._tools = tools
        self._rule = rule
        self._grounds = grounds
        self._batch_id = batch_id
        self._names_redis = names_redis
        self._tiers = retry_tiers(tools.queue, tools.changes)

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`. Whether a worker holds a task is found out only when it is retried."""
        ready, decided = await self.find(task_ids)
        return [*decided, *(self._foreseen(one.found) for one in ready)]

    async def prepare(self, task_ids: Sequence[str]) -> Prepared:
        """See `Step`."""
        self._tools.acceptance.room.check()
        return await self.decide(*await self.find(task_ids))

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """See `Step`."""
        tasks = [outcome.new_task for outcome in outcomes if outcome.new_task is not None]
        if tasks:
            await self._tools.acceptance.enqueue_tasks(tasks)
            log.debug("tasks.recovered", batch_id=self._batch_id, tasks=len(tasks))

    async def find(self, task_ids: Sequence[str]) -> tuple[list[Ready], list[Outcome]]:
        """The tasks that can be retried, and the outcomes of the others."""
        found = await find_in_tiers(self._tiers, task_ids, names_redis=self._names_redis)
        ready: list[Ready] = []
        decided: list[Outcome] = []
        for task_id in task_ids:
            try:
                ready.append(self._ready(task_id, found.get(task_id)))
            except ServiceError as error:
                decided.append(refused(task_id, error))
        return ready, decided

    def _ready(self, task_id: str, found: Found | None) -> Ready:
        """Make the new task.

        Raises:
            TaskNotFound: No tier has its data.
            TaskUnreadable: Its message cannot be published.
            UnknownPlatform: The catalogue no longer has its platform.
        """
        if found is not None and found.refusal is not None:
            raise found.refusal
        if found is None or not found.task_data:
            raise TaskNotFound(task_id)
        refusal = None if found.unrecorded is None else refusal_of_job(task_id, found.task_data)
        if refusal is not None:
            raise refusal
        tools, data, now_ms = self._tools, decoded_data(found.task_data), self._tools.clock()
        due_at_ms, unscheduled = self._due_at(data.get("schedule_time"))
        task = Task(
            task_id=new_task_id(now_ms),
            task_data=found.task_data,
            platform=tools.catalogue.find(data.get("platform", "")).name,
            account_id=str(data.get("account_id") or ""),
            title=str(data.get("title") or ""),
            priority=found.priority,
            created_at_ms=now_ms,
            due_at_ms=due_at_ms,
            batch_id=self._batch_id,
            accepted_by=tools.acceptance.accepted_by,
        )
        origin = DIFFERS if found.differs else REBUILT if found.is_rebuilt else None
        return Ready(found, task, "; ".join(filter(None, (origin, unscheduled))) or None)

    def _due_at(self, schedule_time: Any) -> tuple[int | None, str | None]:
        if not schedule_time:
            return None, None
        try:
            return read_time(str(schedule_time), self._tools.zone), None
        except (ValueError, OverflowError):
            return None, UNSCHEDULED

    async def decide(self, ready: Sequence[Ready], decided: Sequence[Outcome]) -> Prepared:
        """Take waiting tasks that may be retried out of Redis; the rest is decided under the store's lock."""
        waiting = [
            one.found
            for one in ready
            if self._rule(one.found.position, one.found.relatives, withdrawn=False).action is RetryAction.WITHDRAW
        ]
        stock_jobs = {one.position.task_id: one.unrecorded for one in waiting if one.unrecorded is not None}
        barred = await self._adopt(stock_jobs) if stock_jobs else set()
        task_ids = [one.position.task_id for one in waiting if one.position.task_id not in barred]
        withdrawn = await withdraw_tasks(self._tools.queue, task_ids)
        unknown = {outcome.task_id for outcome in withdrawn.unreachable}
        wanted = [
            WantedRetry(one.found.position, one.new_task) for one in ready if one.found.position.task_id not in unknown
        ]

        def rule(task: Position, relatives: Sequence[Position]) -> RetryDecision:
            return self._rule(task, relatives, withdrawn=task.task_id in withdrawn.out)

        return Prepared([*decided, *withdrawn.unreachable], Retry(wanted=wanted, rule=rule, grounds=self._grounds))

    async def _adopt(self, jobs: Mapping[str, QueuedJob]) -> set[str]:
        """Write stock arq clients' jobs into the ledger before they leave Redis, so that no crash loses them.

        Returns the ids of those that the ledger does not take: they have ended, or a retry stands for them (I5).
        """
        tools, now_ms = self._tools, self._tools.clock()
        due_times = await tools.queue.jobs.due_times(list(jobs))
        tasks = [
            adopted_task(
                task_id,
                job.task_data or b"",
                priority=job.priority,
                created_at_ms=max(FIRST_MS, min(job.enqueued_at_ms or now_ms, now_ms)),
                due_at_ms=due_times.get(task_id),
                from_pickle=job.from_pickle,
            )
            for task_id, job in jobs.items()
        ]
        adopted = await tools.ledger.adopt(tasks, now_ms)
        tools.acceptance.count_accepted([task for task in tasks if task.task_id in adopted.known])
        return jobs.keys() - adopted.known.keys()

    def _foreseen(self, found: Found) -> Outcome:
        decision = self._rule(found.position, found.relatives, withdrawn=True)
        return outcome_of_retry(found.position.task_id, decision)


class Retries:
    """Retries single tasks. A task can be retried for as long as any tier knows it."""

    def __init__(self, tools: RetryTools) -> None:
        self._tools = tools

    async def retry_task(self, task_id: str, *, force: bool = False, grounds: Grounds = UNSAID) -> Retried:
        """Run a task again as a new one. While that one is unfinished, further calls return the same new task (I5).

        Args:
            force: Run it again even if it was, or may have been, published.
            grounds: Who forces it, and why.

        Raises:
            TaskNotFound: No tier has the task.
            TaskRunning, TaskSucceeded, OutcomeUnknown, TaskUnreadable: Its state forbids it.
            UnknownPlatform: The catalogue no longer has its platform.
            QueueUnreachable: It waits in the queue, and Redis is unreachable, so it is unknown whether a worker holds
                it.
            DiskFull: The disk has too little room for new tasks.
        """
        retried, outcome = await self._retry(task_id, partial(decide_retry, force=force), grounds)
        source = retried.found.source
        return Retried(
            new_task_id=new_id_of(outcome),
            original_task_id=task_id,
            source=source,
            message=MESSAGE.format(origin=ORIGINS[source]),
            warning=retried.warning,
        )

    async def send_again(self, task_id: str, grounds: Grounds) -> Decided:
        """Run a task of unknown outcome again, and return this as a person's decision.

        Raises:
            NothingToDecide: Its outcome is not unknown, or no longer.
            TaskNotFound, UnknownPlatform, DiskFull: As for a retry.
        """
        _, outcome = await self._retry(task_id, decide_send_again, grounds)
        assert outcome.decided is not None, "a retry that takes force is kept as a decision"
        return outcome.decided

    async def _retry(self, task_id: str, rule: RetryRule, grounds: Grounds) -> tuple[Ready, Outcome]:
        self._tools.acceptance.room.check()
        step = RetryStep(self._tools, rule, grounds=grounds, names_redis=True)
        ready, decided = await step.find([task_id])
        outcome = await apply_to_one(self._tools.changes, await step.decide(ready, decided), self._tools.clock())
        if any(one.found.differs for one in ready):
            log.error("task.data_differs", task_id=task_id, used="sqlite")
        if outcome.refusal is not None:
            raise outcome.refusal
        if outcome.new_task is not None:  # the answer does not wait for Redis; see docs/decisions/0014
            self._tools.acceptance.count_accepted([outcome.new_task])
            self._tools.queue.enqueuer.enqueue_soon(outcome.new_task)
        log.info(
            "task.recovered",
            task_id=task_id,
            source=ready[0].found.source,
            new_task_id=new_id_of(outcome),
            created=outcome.new_task is not None,
        )
        return ready[0], outcome


def new_id_of(outcome: Outcome) -> str:
    """The id of the new retry, or of the unfinished one that existed."""
    return str(outcome.other_task_id if outcome.new_task is None else outcome.new_task.task_id)
