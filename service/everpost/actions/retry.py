"""Retries tasks, one or many.

The store finds the tasks, decides about them by a plan (`everpost.task.retry_plan`), and writes the new ones, all under
its lock. If a task has to be prepared first, it writes nothing: then the task's data is looked for elsewhere, or its
waiting job is taken out of Redis, and the store decides again. The new tasks are queued at last.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import tzinfo
from functools import partial
from typing import Any

import msgspec
import structlog

from everpost.actions.calling_back import CallbackStart
from everpost.actions.publish import Acceptance
from everpost.actions.retry_data import Named, ask_redis, look
from everpost.actions.step import Apply, withdraw_tasks
from everpost.clock import FIRST_MS, Clock
from everpost.errors import BadInput, QueueUnreachable, RetryExists, UnknownPlatform
from everpost.platforms import Catalogue
from everpost.queue.codec import adopted_task
from everpost.queue.event_teller import Told
from everpost.queue.task_queue import TaskQueue
from everpost.store.account_zones import AccountZones
from everpost.store.changes import Change, Changes, Outcome, Retry, outcome_of_retry, undecided_among
from everpost.store.ledger import Ledger
from everpost.task.callbacks import id_of_retry
from everpost.task.candidate import Candidate
from everpost.task.edits import PATH, Edit
from everpost.task.merge_patch import merge_patch
from everpost.task.resolution_rules import UNSAID, Decided, Grounds
from everpost.task.retry_plan import NOTHING_KNOWN, REDIS, ChainRule, Known, RetryPlan
from everpost.task.retry_rules import DataOrigin, RetryAction, decide_retry, decide_send_again
from everpost.task.submission import SubmissionReader, decoded_data

log = structlog.get_logger("everpost.recovery")

MESSAGE = "Task resubmitted to arq from {origin}"
ORIGINS = {REDIS: "Redis", "sqlite": "SQLite history", "task_queue": "task_queue", "archive": "the archive"}
"""The names of the data's sources in messages."""
EDITED = "Its unfinished retry has edited data"


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a retry. The new task may be that of an earlier retry (I5).

    Attributes:
        patched: The new task's data differs from the original's.
        unknown_fields: The fields of edited data that Everpost and the platform do not read; None if all are read.
    """

    new_task_id: str
    original_task_id: str
    source: str
    message: str
    warning: str | None = None
    patched: bool = False
    unknown_fields: Sequence[str] | None = None


class RetryTools(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that retries use."""

    changes: Changes
    ledger: Ledger
    queue: TaskQueue
    acceptance: Acceptance
    catalogue: Catalogue
    clock: Clock
    zone: tzinfo
    reader: SubmissionReader
    max_body: int
    has_inherited_files: bool = False
    zones: AccountZones | None = None
    callbacks: CallbackStart | None = None
    named: Named | None = None

    def edit_of(self, patch: Mapping[str, Any] | None, path: str = PATH) -> Edit | None:
        """The edit that a merge patch asks for; None if it changes nothing."""
        return Edit(patch, self.reader, self.max_body, path) if patch else None


class RetryStep:
    """Retries tasks; see `everpost.actions.step.Step`.

    Args:
        batch_id: The batch id of the new tasks.
        names_redis: Ask Redis about every task, because the answer names the source of the data. Otherwise Redis is
            asked only about tasks whose data the store does not have whole.
        edit: The change of the tasks' data; None to run them again as they were.
    """

    def __init__(
        self,
        tools: RetryTools,
        rule: ChainRule,
        *,
        grounds: Grounds = UNSAID,
        batch_id: str | None = None,
        names_redis: bool = False,
        edit: Edit | None = None,
    ) -> None:
        self._tools = tools
        self._rule = rule
        self._grounds = grounds
        self._batch_id = batch_id
        self._names_redis = names_redis
        self._edit = edit

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`. Whether a worker holds a task is found out only when it is retried."""
        candidates = await self._tools.changes.find(task_ids, whole=True)
        plan = await look(self._tools.queue, self._plan(task_ids, {}), candidates, self._tools.zones, self._tools.named)
        outcomes = [outcome_of_retry(candidate, plan.decide(candidate)) for candidate in candidates]
        # A task that is still to be withdrawn counts as retried. The new tasks would only take memory.
        return [msgspec.structs.replace(outcome, new_task=None, undecided=None) for outcome in outcomes]

    async def run(self, task_ids: Sequence[str], apply: Apply) -> list[Outcome]:
        """See `Step`."""
        self._tools.acceptance.room.check()
        known = await ask_redis(self._tools.queue, task_ids) if self._names_redis else {}
        plan = unprepared = self._plan(task_ids, known)
        while True:
            outcomes = await apply(Retry(task_ids, plan.decide, self._grounds, self._grounds.entry), ())
            undecided = undecided_among(outcomes)
            if not undecided:
                if plan is not unprepared:  # only then may jobs have been taken out of Redis
                    await self._tell_withdrawn(plan, outcomes)
                return outcomes
            plan = await self._prepare(plan, {task.task_id: task for task in undecided})

    async def _tell_withdrawn(self, plan: RetryPlan, outcomes: Sequence[Outcome]) -> None:
        """Tell readers of events which waiting tasks have ended, because a retry replaces them."""
        ended = [
            outcome.task_id
            for outcome in outcomes
            if outcome.new_task is not None and plan.known.get(outcome.task_id, NOTHING_KNOWN).withdrawn
        ]
        if ended:
            with suppress(QueueUnreachable):  # then the event of the new task says it
                await self._tools.queue.events.tell(Told.ENDED, ended)

    def _plan(self, task_ids: Sequence[str], known: Mapping[str, Known]) -> RetryPlan:
        tools, now_ms = self._tools, self._tools.clock()
        return RetryPlan(
            rule=self._rule,
            known=known,
            new_ids={task_id: id_of_retry(task_id, now_ms) for task_id in task_ids},
            now_ms=now_ms,
            accepted_by=tools.acceptance.accepted_by,
            batch_id=self._batch_id,
            catalogue=tools.catalogue,
            zone=tools.zone,
            has_inherited_files=tools.has_inherited_files,
            has_account_zones=tools.zones is not None,
            edit=self._edit,
        )

    async def _prepare(self, plan: RetryPlan, undecided: Mapping[str, Candidate]) -> RetryPlan:
        """Do what comes before the decision: look for data, and take waiting jobs out of Redis."""
        sought = [task_id for task_id, task in undecided.items() if plan.decide(task).action is RetryAction.LOOK]
        if sought:
            found = await self._tools.changes.find(sought, whole=True)
            plan = await look(self._tools.queue, plan, found, self._tools.zones, self._tools.named)
            undecided = {**undecided, **{task.task_id: task for task in found}}
        waiting = [task for task in undecided.values() if plan.decide(task).action is RetryAction.WITHDRAW]
        return await self._withdraw(plan, waiting) if waiting else plan

    async def _withdraw(self, plan: RetryPlan, waiting: Sequence[Candidate]) -> RetryPlan:
        """Take waiting jobs out of Redis. The jobs of tasks that only Redis has are written into the ledger before."""
        barred = await self._adopt(plan, [task.task_id for task in waiting if task.position is None])
        task_ids = [task.task_id for task in waiting if task.task_id not in barred]
        withdrawn = await withdraw_tasks(self._tools.queue, task_ids)
        refusals = {outcome.task_id: outcome.refusal for outcome in withdrawn.unreachable}
        known = dict(plan.known)
        for task_id in (task.task_id for task in waiting):
            before = known.get(task_id, NOTHING_KNOWN)
            made = refusals.get(task_id, before.made)
            known[task_id] = msgspec.structs.replace(before, made=made, withdrawn=task_id in withdrawn.out)
        return msgspec.structs.replace(plan, known=known)

    async def _adopt(self, plan: RetryPlan, task_ids: Sequence[str]) -> set[str]:
        """Write stock arq clients' jobs into the ledger before they leave Redis, so that no crash loses them.

        Returns the ids of those that the ledger does not take: they have ended, or a retry stands for them (I5).
        """
        if not task_ids:
            return set()
        tools, now_ms = self._tools, plan.now_ms
        due_times = await tools.queue.jobs.due_times(task_ids)
        tasks = [
            adopted_task(
                task_id,
                job.task_data or b"",
                priority=job.priority,
                created_at_ms=max(FIRST_MS, min(job.enqueued_at_ms or now_ms, now_ms)),
                due_at_ms=due_times.get(task_id),
                from_pickle=job.from_pickle,
            )
            for task_id in task_ids
            if (job := plan.known[task_id].job) is not None
        ]
        adopted = await tools.ledger.adopt(tasks, now_ms)
        tools.acceptance.count_accepted([task for task in tasks if task.task_id in adopted.known])
        return set(task_ids) - adopted.known.keys()


class Retries:
    """Retries single tasks. A task can be retried for as long as Redis or the store has it."""

    def __init__(self, tools: RetryTools) -> None:
        self._tools = tools

    async def retry_task(
        self,
        task_id: str,
        *,
        force: bool = False,
        grounds: Grounds = UNSAID,
        patch: Mapping[str, Any] | None = None,
        path: str = PATH,
    ) -> Retried:
        """Run a task again as a new one. While that one is unfinished, further calls return the same new task (I5).

        Args:
            force: Run it again even if it was, or may have been, published.
            grounds: Who forces it, and why.
            patch: A JSON merge patch of the data. The original keeps its data.
            path: The JSON path of the patch in the request.

        Raises:
            TaskNotFound: Neither Redis nor the store has the task.
            RetryExists: An unfinished retry has other data than this patch gives.
            InvalidValue, BodyTooLarge: The patched data is not valid.
            TaskRunning, TaskSucceeded, OutcomeUnknown, TaskUnreadable: Its state forbids it.
            UnknownPlatform: The catalogue no longer has its platform.
            QueueUnreachable: It waits in the queue, and Redis is unreachable, so it is unknown whether a worker holds
                it.
            Unavailable: The store cannot write, or the disk has too little room for new tasks.
        """
        edit = self._tools.edit_of(patch, path)
        outcome, origin = await self._retry(task_id, partial(decide_retry, force=force), grounds, edit)
        patched = edit is not None
        if outcome.new_task is None:
            patched = await self._has_edited(task_id, new_id_of(outcome), edit)
        warnings = (origin.warning, EDITED if patched and edit is None else None)
        return Retried(
            new_task_id=new_id_of(outcome),
            original_task_id=task_id,
            source=origin.source,
            message=MESSAGE.format(origin=ORIGINS[origin.source]),
            warning="; ".join(filter(None, warnings)) or None,
            patched=patched,
            unknown_fields=None if edit is None else await self._unknown_fields(new_id_of(outcome)),
        )

    async def _unknown_fields(self, task_id: str) -> Sequence[str] | None:
        """The unknown fields of a task that an edit made."""
        (made,) = await self._tools.changes.find([task_id], whole=True)
        data = _data_of(made) or {}
        try:
            platform = self._tools.catalogue.find(data.get("platform", ""))
        except UnknownPlatform:
            return None
        return self._tools.reader.unknown_fields(platform.name, data) or None

    async def _has_edited(self, task_id: str, retry_id: str, edit: Edit | None) -> bool:
        """Whether an unfinished retry has other data than the original.

        Raises:
            RetryExists: Its data is not what `edit` gives, so it does not do what the caller wants.
        """
        found = await self._tools.changes.find([task_id, retry_id], whole=True)
        original, retried = [_data_of(candidate) for candidate in found]
        if edit is not None and (original is None or retried != merge_patch(original, edit.patch)):
            raise RetryExists(retry_id)
        return original is not None and retried is not None and retried != original

    async def send_again(self, task_id: str, grounds: Grounds) -> Decided:
        """Run a task of unknown outcome again, and return this as a person's decision.

        Raises:
            NothingToDecide: Its outcome is not unknown, or no longer.
            TaskNotFound, UnknownPlatform, Unavailable: As for a retry.
        """
        outcome, _ = await self._retry(task_id, decide_send_again, grounds)
        assert outcome.decided is not None, "a retry that takes force is kept as a decision"
        return outcome.decided

    async def _retry(
        self, task_id: str, rule: ChainRule, grounds: Grounds, edit: Edit | None = None
    ) -> tuple[Outcome, DataOrigin]:
        step = RetryStep(self._tools, rule, grounds=grounds, names_redis=True, edit=edit)
        (outcome,) = await step.run([task_id], self._apply)
        if outcome.told and self._tools.callbacks is not None:
            await self._tools.callbacks.after([outcome])
        origin = outcome.origin
        if origin is not None and origin.differs:
            log.error("task.data_differs", task_id=task_id, used="sqlite")
        if outcome.refusal is not None:
            raise outcome.refusal
        assert origin is not None, "a retry that is not refused has data"
        if outcome.new_task is not None:  # the answer is sent first, and waits for no Redis; see docs/decisions/0014
            self._tools.acceptance.count_accepted([outcome.new_task])
            if self._tools.acceptance.tracing is not None:
                await self._tools.acceptance.keep_traces([outcome.new_task])
            asyncio.get_running_loop().call_soon(self._tools.queue.enqueuer.enqueue_soon, outcome.new_task)
        log.info(
            "task.recovered",
            task_id=task_id,
            source=origin.source,
            new_task_id=new_id_of(outcome),
            created=outcome.new_task is not None,
        )
        return outcome, origin

    async def _apply(self, change: Change, _: Sequence[Outcome]) -> list[Outcome]:
        return await self._tools.changes.apply(change, self._tools.clock())


def new_id_of(outcome: Outcome) -> str:
    """The id of the new retry, or of the unfinished one that existed."""
    return str(outcome.other_task_id if outcome.new_task is None else outcome.new_task.task_id)


def _data_of(candidate: Candidate) -> dict[str, Any] | None:
    """The data of a task in the store; None if it has none that can be read."""
    try:
        return None if candidate.data is None else decoded_data(candidate.data.task_data)
    except BadInput:
        return None
