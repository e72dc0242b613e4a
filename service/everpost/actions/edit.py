"""Edits waiting tasks, one or many, by a JSON merge patch of their data (RFC 7396).

The new version is made and checked. Then the job is taken out of Redis, the store writes the new version if the
task still waits as it was read, and the job goes back into the queue. A task keeps its id. If the process dies in
between, the relay puts the job back as the ledger has it.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from everpost.actions.named_things import NamedThings
from everpost.actions.step import AT_A_TIME, Apply
from everpost.clock import Clock
from everpost.errors import BodyTooLarge, InvalidValue, QueueUnreachable, ServiceError, TaskChanging, TaskRunning
from everpost.queue.jobs import NotTakenOut, TakenOut
from everpost.queue.task_queue import TaskQueue
from everpost.store.account_zones import AccountZones, KnownZones
from everpost.store.changes import Change, Changes, Edit, Outcome, refused
from everpost.store.relay import Relay
from everpost.task.candidate import Candidate
from everpost.task.duplicate_rules import guard_of, guard_of_data
from everpost.task.edit_rules import EditDecision, Edited, EditFacts, decide_edit, unreadable
from everpost.task.merge_patch import former_members, merge_patch
from everpost.task.model import Task
from everpost.task.place import Place
from everpost.task.resolution_rules import UNSAID, Grounds
from everpost.task.schedule_times import is_local, needs_zone
from everpost.task.submission import Submission, SubmissionReader, decoded_data

log = structlog.get_logger("everpost.edit")

PUBLISH_NOW: Mapping[str, Any] = {"schedule_time": None}
"""The patch that makes a task due at once."""

SCHEDULING = frozenset({"schedule_time", "schedule_fold"})
ACCOUNT = frozenset({"platform", "account_id"})
LIMITING = SCHEDULING | {"late_after_s", "platform"}
NO_CONTENT = SCHEDULING | {"late_after_s", "priority"}
BUSY_S = 5.0  # for other callers that have the job out of Redis
LOOK_AGAIN_S = 0.02
ASK_STORE_S = 0.1  # whether those other callers have ended the task; many edits may wait at once


class EditTools(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that edits use."""

    changes: Changes
    relay: Relay
    queue: TaskQueue
    reader: SubmissionReader
    zones: AccountZones
    named: NamedThings
    clock: Clock
    max_body: int


class EditStep:
    """Edits waiting tasks; see `everpost.actions.step.Step`.

    Args:
        patch: The JSON merge patch of the data of each.
        token: Names this edit in Redis; repeated after a crash, it has the same one.
    """

    def __init__(
        self, tools: EditTools, patch: Mapping[str, Any], *, grounds: Grounds = UNSAID, token: str | None = None
    ) -> None:
        self._tools = tools
        self._patch = patch
        self._grounds = grounds
        self._token = token or uuid4().hex

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`. Whether a worker holds a task is found out only when it is edited."""
        found = await self._read(task_ids)
        return [_foreseen(task_id, one) for task_id, one in found]

    async def run(self, task_ids: Sequence[str], apply: Apply) -> list[Outcome]:
        """See `Step`."""
        outcomes: list[Outcome] = []
        wanted = await self._versions(task_ids, outcomes)
        claims = await self._take_out(list(wanted), outcomes)

        def rule(task_id: str, facts: EditFacts) -> EditDecision:
            return decide_edit(task_id, facts, claims=claims[task_id])

        try:
            # Read again: until a job was out, another edit could change its task.
            versions = await self._versions(list(claims), outcomes) if claims else {}
            return await apply(Edit(versions, rule, self._grounds.entry), outcomes)
        finally:
            await self._put_back(list(claims))

    async def version_of(self, task_id: str) -> Edited:
        """The new version of one task, which is not written.

        Raises:
            ServiceError: It cannot be edited.
        """
        ((_, one),) = await self._read([task_id])
        if isinstance(one, ServiceError):
            raise one
        return one

    async def _versions(self, task_ids: Sequence[str], outcomes: list[Outcome]) -> dict[str, Edited]:
        """The new versions of tasks that can be edited; the others get their outcomes."""
        versions: dict[str, Edited] = {}
        for task_id, one in await self._read(task_ids):
            if isinstance(one, ServiceError):
                outcomes.append(refused(task_id, one))
            elif one.is_same:
                outcomes.append(Outcome(task_id=task_id))
            else:
                versions[task_id] = one
        return versions

    async def _read(self, task_ids: Sequence[str]) -> list[tuple[str, Edited | ServiceError]]:
        """The new version of each task, or why it cannot be edited."""
        known: KnownZones = {}
        found = await self._tools.changes.find(task_ids, whole=True)
        return [(task.task_id, await self._version_of(task, known)) for task in found]

    async def _version_of(self, task: Candidate, known: KnownZones) -> Edited | ServiceError:
        decision = decide_edit(task.task_id, EditFacts(position=task.position))
        if decision.refusal is not None:
            return decision.refusal
        stored = task.data
        if stored is None or stored.is_rebuilt or stored.place is not Place.LEDGER:
            return unreadable(task.task_id)
        before = decoded_data(stored.task_data)
        try:
            after = merge_patch(before, self._patch)
            zone = await self._tools.zones.of_data(after, known) if needs_zone(after) else None
            made = self._tools.reader.check(after, self._tools.clock(), zone)
            await self._tools.named.check(made)
        except ServiceError as error:
            return error
        if len(made.task_data) > self._tools.max_body:
            return BodyTooLarge(self._tools.max_body)
        edited = self._edited(task.task_id, stored.task_data, stored.priority, former_members(before, after), made)
        moves = edited.is_rescheduled or await self._has_other_zone(before, made, zone, known)
        return edited if moves is edited.is_rescheduled else msgspec.structs.replace(edited, is_rescheduled=moves)

    async def _has_other_zone(
        self, before: Mapping[str, Any], made: Submission, zone: tzinfo | None, known: KnownZones
    ) -> bool:
        """Whether the time has no offset, and the edit gives it the zone of another account."""
        if made.due_at_ms is None or ACCOUNT.isdisjoint(self._patch) or not is_local(made.view.schedule_time or ""):
            return False
        return await self._tools.zones.of_data(before, known) != zone

    def _edited(
        self, task_id: str, before_data: bytes, before_priority: int, former: Mapping[str, Any], made: Submission
    ) -> Edited:
        now_ms = self._tools.clock()
        former_guard = guard_of_data(made.platform, decoded_data(before_data), now_ms)
        return Edited(
            task_id=task_id,
            task_data=made.task_data,
            before_data=before_data,
            before_priority=before_priority,
            platform=made.platform.name,
            account_id=made.view.account_id,
            title=made.view.title,
            priority=made.view.priority if "priority" in self._patch else before_priority,
            is_rescheduled=not SCHEDULING.isdisjoint(self._patch),
            due_at_ms=made.due_at_ms,
            has_new_limit=not LIMITING.isdisjoint(self._patch),
            late_at_ms=made.late_at_ms(now_ms),
            file_ids=made.file_ids,
            callback_url=made.view.callback_url,
            is_rewritten=not NO_CONTENT.issuperset(self._patch),
            patch=msgspec.json.encode(self._patch),
            former=msgspec.json.encode(former),
            edited_by=self._grounds.by,
            why=self._grounds.why,
            warning=made.warning,
            unknown_fields=made.unknown_fields,
            guard=guard_of(made, now_ms),
            former_digest=None if former_guard is None else former_guard.digest,
        )

    async def _take_out(self, task_ids: Sequence[str], outcomes: list[Outcome]) -> dict[str, int]:
        """Take jobs out of Redis: the counted claims of each that is out; the others get their outcomes."""
        claims: dict[str, int] = {}
        for start in range(0, len(task_ids), AT_A_TIME):
            some = task_ids[start : start + AT_A_TIME]
            answers = await asyncio.gather(*map(self._take_one_out, some))
            for task_id, answer in zip(some, answers, strict=True):
                if isinstance(answer, TakenOut):
                    claims[task_id] = answer.claims
                else:
                    outcomes.append(refused(task_id, answer))
        return claims

    async def _take_one_out(self, task_id: str) -> TakenOut | ServiceError:
        now_s = time.monotonic()
        until_s, look_at_s = now_s + BUSY_S, now_s + ASK_STORE_S
        while True:
            try:
                answer = await self._tools.queue.jobs.take_out(task_id, self._token)
            except QueueUnreachable as error:
                return error
            if isinstance(answer, TakenOut):
                return answer
            if answer is NotTakenOut.HELD:
                return TaskRunning(task_id)
            now_s = time.monotonic()
            if now_s > look_at_s:
                look_at_s = now_s + ASK_STORE_S
                if (refusal := await self._refusal_of(task_id)) is not None:
                    return refusal
            if now_s > until_s:
                return TaskChanging(task_id)
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _refusal_of(self, task_id: str) -> ServiceError | None:
        """Why the task can no longer be edited; the caller that has its job out may be ending it."""
        (task,) = await self._tools.changes.find([task_id], whole=False)
        return decide_edit(task_id, EditFacts(position=task.position)).refusal

    async def _put_back(self, task_ids: Sequence[str]) -> None:
        """Put jobs back as the ledger has the tasks now, whether or not they were edited. Otherwise the relay does."""
        try:
            tasks: Sequence[Task] = (await self._tools.relay.runnable(task_ids)).tasks if task_ids else ()
        except ServiceError as error:
            log.warning("edit.left_to_the_relay", tasks=len(task_ids), error=error.message)
            return
        await self._tools.queue.enqueuer.requeue_tasks(tasks, self._token)


def _foreseen(task_id: str, one: Edited | ServiceError) -> Outcome:
    return refused(task_id, one) if isinstance(one, ServiceError) else Outcome(task_id=task_id)


class Edits:
    """Edits single tasks."""

    def __init__(self, tools: EditTools) -> None:
        self._tools = tools

    async def edit_task(self, task_id: str, patch: Mapping[str, Any], grounds: Grounds = UNSAID) -> Edited | None:
        """Edit a waiting task; its new version, or None if it is the old one.

        Raises:
            InvalidValue: The patch or the new version is not valid.
            BodyTooLarge: The new version is too large.
            TaskNotFound: The store does not have it.
            TaskEnded, TaskHeld, TaskRunning, AttemptOpen, TaskChanging, Conflict: Its state forbids it.
            QueueUnreachable: Redis is unreachable, so it is unknown whether a worker holds it.
            Unavailable: The store cannot write.
        """
        step = EditStep(self._tools, patch, grounds=grounds)
        (outcome,) = await step.run([task_id], self._apply)
        if outcome.refusal is not None:
            raise outcome.refusal
        if outcome.edited is not None:
            log.info("task.edited", task_id=task_id, members=sorted(patch), by=grounds.by)
        return outcome.edited

    async def foresee_edit(self, task_id: str, patch: Mapping[str, Any]) -> Edited:
        """The version that an edit would give a task, checked as an edit is; nothing is written.

        Whether a worker holds the task is found out only when it is edited.

        Raises:
            InvalidValue: The patch or the new version is not valid.
            ServiceError: As of `edit_task`.
        """
        return await EditStep(self._tools, patch).version_of(task_id)

    async def _apply(self, change: Change, decided: Sequence[Outcome]) -> list[Outcome]:
        if isinstance(change, Edit) and not change.versions:
            return list(decided)
        return [*decided, *await self._tools.changes.apply(change, self._tools.clock())]


def read_patch(value: Any, path: str = "$") -> dict[str, Any]:
    """A JSON merge patch of a task's data.

    Raises:
        InvalidValue: It is not an object, or has no member.
    """
    if not isinstance(value, dict):
        raise InvalidValue("A merge patch of a task is a JSON object.", path)
    if not value:
        raise InvalidValue("The patch has no member, so it would change nothing.", path)
    return value
