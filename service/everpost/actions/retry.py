"""Retrying a task: its data from the first tier that still has it, the decision from SQLite, a new task the answer."""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from everpost.actions.publish import Intake
from everpost.clock import Clock, read_time
from everpost.errors import BadInput, QueueUnreachable, TaskNotFound, TaskRunning, TaskUnreadable
from everpost.platforms import Catalogue
from everpost.queue.client import TaskQueue
from everpost.queue.codec import decoded_data, job_in
from everpost.store.sqlite.tasks.payloads import Payloads, StoredPayload
from everpost.store.sqlite.tasks.resubmission import Decide, Resubmission, Resubmitter
from everpost.task.model import Task, TaskStatus, new_task_id
from everpost.task.place import Place, Position
from everpost.task.queued_job import QueuedJob
from everpost.task.resolution_rules import UNSAID, Grounds
from everpost.task.retry_rules import RetryAction, RetryDecision, decide_retry, decide_send_again
from everpost.task.submission import decode_json, encode_json

log = structlog.get_logger("everpost.recovery")

RetryRule = Callable[..., RetryDecision]
"""`decide_retry` and its like: (task, relatives, withdrawn=...)."""

DIFFERS = "Redis had other data of this task; what SQLite has was resubmitted"
UNSCHEDULED = "Its schedule_time could not be read, so it runs at once"


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """A task's data, and the tier it was found in.

    Attributes:
        task_data: Empty where only the task's end is known, as of a result in Redis without its arguments.
        rebuilt: The data was put together from single columns.
        differs: Redis had other data than SQLite, whose is taken.
    """

    source: str
    message: str
    task_data: bytes
    priority: int
    status: str
    warning: str | None = None
    rebuilt: bool = False
    differs: bool = False


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a retry.

    Attributes:
        created: False if the new task existed already: another caller had retried it (I5).
    """

    new_task_id: str
    original_task_id: str
    source: str
    message: str
    created: bool
    warning: str | None = None


class Tier(Protocol):
    """A store that may still have a task's data."""

    async def find(self, task_id: str) -> Recovered | None:
        """The task's data, or None if this tier no longer has it."""


class RedisTier:
    """First: Redis, which has it whole for `EVERPOST_RESULT_TTL`; one that does not answer has nothing."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue

    async def find(self, task_id: str) -> Recovered | None:
        """From the job's result, or the job itself."""
        try:
            job = await self._queue.find_task(task_id)
        except QueueUnreachable:
            log.warning("task.tier_unreachable", task_id=task_id, source="redis")
            return None
        return None if job is None else _recovered_from_redis(job)

    async def find_all(self, task_ids: Sequence[str]) -> Mapping[str, Recovered]:
        """Of many tasks those it has, asked for in one request."""
        try:
            jobs = await self._queue.find_tasks(task_ids)
        except QueueUnreachable:
            log.warning("task.tier_unreachable", task_id=task_ids[0], tasks=len(task_ids), source="redis")
            return {}
        return {task_id: _recovered_from_redis(job) for task_id, job in jobs.items()}


def _recovered_from_redis(job: QueuedJob) -> Recovered:
    statuses = {None: TaskStatus.PENDING, True: TaskStatus.SUCCESS, False: TaskStatus.FAILED}
    return Recovered(
        source="redis",
        message="Task resubmitted to arq from Redis",
        task_data=job.task_data or b"",
        priority=job.priority,
        status=statuses[job.success],
    )


class StoredTier:
    """A SQLite table: permanent, and rebuilt from its single columns where a row has no readable data."""

    def __init__(self, place: Place, payloads: Payloads) -> None:
        self._place = place
        self._payloads = payloads

    async def find(self, task_id: str) -> Recovered | None:
        """From the table's row of that task."""
        payload = await self._payloads.find(self._place, task_id)
        return None if payload is None else recovered_from_table(task_id, self._place, payload)


_TABLES = {
    Place.HISTORY: ("sqlite", "SQLite history"),
    Place.LEDGER: ("task_queue", "task_queue"),
    Place.ARCHIVE: ("archive", "the archive"),
}
"""The tables in their order: what an answer calls them."""


def recovered_from_table(task_id: str, place: Place, payload: StoredPayload) -> Recovered:
    """A task's data as a table has it; of a stock arq client's message that was kept as it came, what it says now.

    Raises:
        TaskUnreadable: That message still says nothing that could be published.
    """
    source, origin = _TABLES[place]
    task_data, priority = payload.task_data, payload.priority
    if payload.raw_job is not None:
        try:
            job = job_in(payload.raw_job)
            encode_json(decode_json(job.task_data or b"null"))
        except ValueError as error:
            raise TaskUnreadable(task_id, str(error)) from error
        except BadInput as error:
            raise TaskUnreadable(task_id, error.message.rstrip(".")) from error
        task_data, priority = job.task_data or b"", job.priority
    return Recovered(
        source=source,
        message=f"Task resubmitted to arq from {origin}",
        task_data=task_data,
        priority=priority,
        status=payload.status,
        warning=payload.warning,
        rebuilt=payload.warning is not None,
    )


def settle_tiers(in_redis: Recovered | None, stored: Recovered | None) -> Recovered | None:
    """What a retry resends: SQLite's data wins, although the answer names Redis where Redis has the task.

    Others can write to Redis. What SQLite had to put together from single columns stands behind whole data of Redis.
    """
    if in_redis is None or stored is None:
        found = stored if in_redis is None else in_redis
        return found if found is not None and found.task_data else None
    if stored.rebuilt and in_redis.task_data:
        return in_redis
    differs = in_redis.task_data not in {b"", stored.task_data}
    return msgspec.structs.replace(
        in_redis,
        task_data=stored.task_data,
        priority=stored.priority,
        warning=DIFFERS if differs else stored.warning,
        differs=differs,
    )


def stand_in_for(task_id: str, found: Recovered) -> Position:
    """What is known of a task no table has: one that waits in Redis is withdrawn there, as one of the ledger is."""
    place = Place.LEDGER if found.status == TaskStatus.PENDING else Place.HISTORY
    return Position(task_id=task_id, place=place, status=found.status, chain_id=task_id)


def recovery_tiers(queue: TaskQueue, payloads: Payloads) -> tuple[Tier, ...]:
    """The seed's three tiers in their order, and the archive behind them."""
    return (RedisTier(queue), *(StoredTier(place, payloads) for place in _TABLES))


class _Resubmitted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a retry in one transaction.

    Attributes:
        task: The new one, or what it would have been.
        warning: What the answer to the client carries.
    """

    found: Recovered
    stand_in: Position
    decision: RetryDecision
    task: Task
    warning: str | None


class Recovery:
    """Retries tasks, for ever: as long as any tier knows a task, it can be run again."""

    def __init__(
        self,
        tiers: Sequence[Tier],
        resubmitter: Resubmitter,
        queue: TaskQueue,
        intake: Intake,
        catalogue: Catalogue,
        clock: Clock,
        timezone: tzinfo,
    ) -> None:
        """`tiers` are those of `recovery_tiers`: Redis, the history, and what is behind them."""
        self._tiers = tiers
        self._resubmitter = resubmitter
        self._queue = queue
        self._intake = intake
        self._catalogue = catalogue
        self._clock = clock
        self._timezone = timezone

    async def retry_task(self, task_id: str, *, force: bool = False, grounds: Grounds = UNSAID) -> Retried:
        """Run a task again as a new one. Calling it again while that one lives answers with the same new task (I5).

        Args:
            force: Send it again although it was, or may have been, published.
            grounds: Who wants that, and why.

        Raises:
            TaskNotFound: No tier knows the id.
            TaskRunning, TaskSucceeded, OutcomeUnknown, TaskUnreadable: Its state forbids it.
            UnknownPlatform: The catalogue no longer has its platform.
            QueueUnreachable: It waits in the queue and Redis, down, cannot say whether it runs.
            DiskFull: The disk has too little room for new tasks.
        """
        return await self._run_again(task_id, partial(decide_retry, force=force), grounds)

    async def send_again(self, task_id: str, grounds: Grounds) -> Retried:
        """Run a task of unknown outcome again: a person's decision.

        Raises:
            NothingToDecide: Its outcome is not unknown, or not any more.
            TaskNotFound, UnknownPlatform, DiskFull: As for a retry.
        """
        return await self._run_again(task_id, decide_send_again, grounds)

    async def _run_again(self, task_id: str, rule: RetryRule, grounds: Grounds) -> Retried:
        self._intake.room.check()
        done = await self._resubmit(task_id, partial(rule, withdrawn=False), grounds)
        decision, task = done.decision, done.task
        if decision.action is RetryAction.WITHDRAW:
            decision, task = await self._withdraw_and_resubmit(done, rule, grounds)
        if done.found.differs:
            log.error("task.data_differs", task_id=task_id, used="sqlite")
        if decision.refusal is not None:
            raise decision.refusal
        created = decision.action is RetryAction.RETRY
        if created:
            self._intake.count_accepted([task])
            self._queue.enqueue_soon(task)
        source = done.found.source
        new_task_id = task.task_id if created else str(decision.task_id)
        log.info("task.recovered", task_id=task_id, source=source, new_task_id=new_task_id, created=created)
        return Retried(
            new_task_id=new_task_id,
            original_task_id=task_id,
            source=source,
            message=done.found.message,
            created=created,
            warning=done.warning,
        )

    async def _resubmit(self, task_id: str, decide: Decide, grounds: Grounds) -> _Resubmitted:
        """Find the task's data, decide, and write the new task.

        The history most likely has it: there it is read in the transaction that decides, which saves a trip to another
        thread and reads the same pages.
        """
        in_redis = await self._tiers[0].find(task_id)
        prepare = partial(self._prepare_from_history, task_id, in_redis)
        done = await self._resubmitter.resubmit_from_history(task_id, prepare, self._clock(), decide, grounds)
        if done is not None:
            (decision, task), (found, stand_in, warning) = done
            return _Resubmitted(found=found, stand_in=stand_in, decision=decision, task=task, warning=warning)
        found = settle_tiers(in_redis, await self._find_stored(task_id)) or await self.find_behind_redis(task_id)
        task, warning = self.new_task(found, None)
        stand_in = stand_in_for(task_id, found)
        decision, task = await self._resubmitter.resubmit_task(stand_in, task, self._clock(), decide, grounds)
        return _Resubmitted(found=found, stand_in=stand_in, decision=decision, task=task, warning=warning)

    def _prepare_from_history(
        self, task_id: str, in_redis: Recovered | None, payload: StoredPayload
    ) -> tuple[Resubmission, tuple[Recovered, Position, str | None]]:
        stored = recovered_from_table(task_id, Place.HISTORY, payload)
        found = settle_tiers(in_redis, stored) or stored
        task, warning = self.new_task(found, None)
        stand_in = stand_in_for(task_id, found)
        return Resubmission(stand_in, task), (found, stand_in, warning)

    async def _withdraw_and_resubmit(
        self, done: _Resubmitted, rule: RetryRule, grounds: Grounds
    ) -> tuple[RetryDecision, Task]:
        """A task that waits in Redis is taken out of there, and then decided about once more."""
        withdrawn = await self._queue.withdraw_task(done.stand_in.task_id)
        decision, task = await self._resubmitter.resubmit_task(
            done.stand_in, done.task, self._clock(), partial(rule, withdrawn=withdrawn), grounds
        )
        if decision.action is RetryAction.WITHDRAW:
            decision = RetryDecision(RetryAction.REFUSE, refusal=TaskRunning(done.stand_in.task_id))
        return decision, task

    async def find_behind_redis(self, task_id: str) -> Recovered:
        """The data of a task that Redis does not have, from the first tier that has it.

        Raises:
            TaskNotFound: None has.
        """
        # Twice, because a task that ends moves from the ledger, looked at late, into the history, looked at early.
        found = await self._find_stored(task_id)
        if found is None:
            in_redis = await self._tiers[0].find(task_id)
            found = settle_tiers(in_redis, await self._find_stored(task_id))
        if found is None:
            raise TaskNotFound(task_id)
        return found

    async def _find_stored(self, task_id: str) -> Recovered | None:
        """The data of a task from the first table that has it."""
        for tier in self._tiers[1:]:
            found = await tier.find(task_id)
            if found is not None:
                return found
        return None

    def new_task(self, found: Recovered, batch_id: str | None) -> tuple[Task, str | None]:
        """The task a retry of `found` would be, and the warning its answer carries.

        Raises:
            UnknownPlatform: The catalogue no longer has its platform.
        """
        data = decoded_data(found.task_data)
        now_ms = self._clock()
        due_at_ms, unreadable = self._due_at(data.get("schedule_time"))
        task = Task(
            task_id=new_task_id(now_ms),
            task_data=found.task_data,
            platform=self._catalogue.find(data.get("platform", "")).name,
            account_id=str(data.get("account_id") or ""),
            title=str(data.get("title") or ""),
            priority=found.priority,
            created_at_ms=now_ms,
            due_at_ms=due_at_ms,
            batch_id=batch_id,
            accepted_by=self._intake.accepted_by,
        )
        return task, "; ".join(filter(None, (found.warning, unreadable))) or None

    def _due_at(self, schedule_time: Any) -> tuple[int | None, str | None]:
        if not schedule_time:
            return None, None
        try:
            return read_time(str(schedule_time), self._timezone), None
        except (ValueError, OverflowError):
            return None, UNSCHEDULED
