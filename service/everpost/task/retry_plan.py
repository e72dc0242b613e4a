"""Plans retries: chooses the data, makes the new task, and decides. Stores call a plan under their lock."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Protocol

import msgspec

from everpost.errors import InvalidValue, ServiceError, TaskNotFound, TaskRunning
from everpost.platforms import Catalogue
from everpost.task.callbacks import callback_url_of
from everpost.task.candidate import LARGEST_LOCKED, Candidate
from everpost.task.data_fields import DataFields, read_fields
from everpost.task.duplicate_rules import Guard, guard_of, guard_of_data
from everpost.task.edits import Edit
from everpost.task.file_refs import keys_of, may_name_files
from everpost.task.late_rules import latest_start_ms
from everpost.task.model import Task, TaskStatus
from everpost.task.place import Place, Position
from everpost.task.queued_job import QueuedJob
from everpost.task.retry_rules import DataOrigin, RetryAction, RetryDecision, succession_of
from everpost.task.schedule_times import place_patiently, read_moment
from everpost.task.submission import Submission, decoded_data

REDIS = "redis"
SOURCES = {Place.HISTORY: "sqlite", Place.LEDGER: "task_queue", Place.ARCHIVE: "archive"}

REBUILT = "Task data rebuilt from individual fields (may be incomplete)"
DIFFERS = "Redis had other data of this task; SQLite's data was resubmitted"
SCHEDULED = b'"schedule_time"'
UNSCHEDULED = "Its schedule_time could not be read, so it runs at once"


class ChainRule(Protocol):
    """The type of `decide_retry` and similar rules."""

    def __call__(self, task: Position, relatives: Sequence[Position], *, withdrawn: bool) -> RetryDecision:
        """Decide about a task; see `decide_retry`."""


class ChosenData(msgspec.Struct, frozen=True):
    """The data for a retry."""

    task_data: bytes
    priority: int
    origin: DataOrigin


class Made(msgspec.Struct, frozen=True):
    """A new task without its place in the retry chain, and where its data came from.

    Attributes:
        guard: See `Succession`.
        edited: The edited data, as it was checked; None if the data is the retried task's.
    """

    task: Task
    origin: DataOrigin
    guard: Guard | None = None
    edited: Submission | None = None


class Known(msgspec.Struct, frozen=True):
    """What was found out about a task without the store's lock. Redis was asked about every task that has a `Known`.

    Attributes:
        job: What Redis has; None if it has nothing.
        made: The new task, or the error that prevents it; None if the task can be made under the lock.
        withdrawn: Whether the job was taken out of Redis; False if a worker held it, None if it was not tried.
    """

    job: QueuedJob | None = None
    made: Made | ServiceError | None = None
    withdrawn: bool | None = None


NOTHING_KNOWN = Known()


class RetryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How tasks are retried.

    Attributes:
        new_ids: The id of each task's retry.
        now_ms: The time at which the new tasks are created.
        zone: The time zone of times without an offset.
        has_inherited_files: The store has records of the original's files.
        edit: The change of the data; None to run the tasks again as they were.
        has_account_zones: Accounts may have time zones of their own, which are found without the store's lock.
    """

    rule: ChainRule
    known: Mapping[str, Known]
    new_ids: Mapping[str, str]
    now_ms: int
    accepted_by: str
    batch_id: str | None
    catalogue: Catalogue
    zone: tzinfo
    has_inherited_files: bool = False
    edit: Edit | None = None
    has_account_zones: bool = False

    def decide(self, candidate: Candidate) -> RetryDecision:
        """Decide about a task. LOOK and WITHDRAW are no longer answered once `known` has what they ask for."""
        known = self.known.get(candidate.task_id, NOTHING_KNOWN)
        if self._needs_look(candidate, known):
            return RetryDecision(RetryAction.LOOK)
        position = candidate.position or position_in_redis(candidate.task_id, known.job)
        made = known.made or self.make(candidate, known.job)
        if isinstance(made, ServiceError):
            return RetryDecision(RetryAction.REFUSE, refusal=made)
        chain = [position, *candidate.relatives]
        decision = self.rule(position, candidate.relatives, withdrawn=bool(known.withdrawn))
        if decision.action is RetryAction.WITHDRAW and known.withdrawn is not None:
            decision = RetryDecision(RetryAction.REFUSE, refusal=TaskRunning(candidate.task_id))
        succession = None
        if decision.action is RetryAction.RETRY:
            succession = succession_of(chain, made.task, made.guard, is_edited=made.edited is not None)
        return msgspec.structs.replace(decision, succession=succession, origin=made.origin)

    def _needs_look(self, candidate: Candidate, known: Known) -> bool:
        """Whether the new task can only be made with data from elsewhere, or takes too long to make under a lock."""
        was_redis_asked = candidate.task_id in self.known
        if known.made is not None:
            return False
        if candidate.position is None:
            return not was_redis_asked or known.job is not None
        data = candidate.data
        if data is None:
            return candidate.size_bytes > LARGEST_LOCKED or not was_redis_asked
        if data.raw_job is not None or self.edit is not None:  # what the new version names is looked for
            return True
        may_need_zone = (
            self.has_account_zones and SCHEDULED in data.task_data and read_fields(data.task_data).schedule_time
        )
        return bool(may_need_zone) or (data.is_rebuilt and not was_redis_asked)

    def make(self, candidate: Candidate, job: QueuedJob | None) -> Made | ServiceError:
        """Make the new task, or return the error that prevents it."""
        chosen = choose_data(candidate, job)
        if chosen is None:
            return TaskNotFound(candidate.task_id)
        try:
            if self.edit is not None:
                return self._edited(candidate.task_id, self.edit, chosen)
            fields = read_fields(chosen.task_data)
            platform = self.catalogue.find(fields.platform)
        except ServiceError as error:
            return error
        due_at_ms, unscheduled = self._due_at(fields.schedule_time, fields.schedule_fold)
        task = Task(
            task_id=self.new_ids[candidate.task_id],
            task_data=chosen.task_data,
            platform=platform.name,
            account_id=str(fields.account_id or ""),
            title=str(fields.title or ""),
            priority=chosen.priority,
            created_at_ms=self.now_ms,
            due_at_ms=due_at_ms,
            batch_id=self.batch_id,
            accepted_by=self.accepted_by,
            file_ids=self._file_ids(fields),
            callback_url=callback_url_of(fields.callback_url, self.catalogue.callback_options),
            late_at_ms=latest_start_ms(fields.late_after_s, platform.late_after_s, due_at_ms, self.now_ms),
        )
        guard = None
        if platform.duplicate_window_s is not None:
            guard = guard_of_data(platform, decoded_data(chosen.task_data), max(self.now_ms, due_at_ms or 0))
        origin = chosen.origin
        if unscheduled is not None:
            warning = "; ".join(filter(None, (origin.warning, unscheduled)))
            origin = msgspec.structs.replace(origin, warning=warning)
        return Made(task, origin, guard)

    def _edited(self, task_id: str, edit: Edit, chosen: ChosenData) -> Made:
        """The new task with edited data. Its priority is the original's, unless the edit names another."""
        submission = edit.apply(decoded_data(chosen.task_data), self.now_ms, self.zone)
        task = submission.task(self.now_ms, self.accepted_by, self.batch_id)
        priority = task.priority if "priority" in edit.patch else chosen.priority
        task = msgspec.structs.replace(task, task_id=self.new_ids[task_id], priority=priority)
        return Made(task, chosen.origin, guard_of(submission, self.now_ms), submission)

    def _file_ids(self, fields: DataFields) -> tuple[str, ...]:
        if not may_name_files(fields.files, fields.file_id, has_inherited=self.has_inherited_files):
            return ()
        return keys_of(msgspec.structs.asdict(fields), has_inherited=self.has_inherited_files)

    def _due_at(self, schedule_time: Any, fold: Any) -> tuple[int | None, str | None]:
        if not schedule_time:
            return None, None
        try:
            return place_patiently(read_moment(str(schedule_time)), self.zone, 1 if fold == 1 else 0), None
        except InvalidValue:
            return None, UNSCHEDULED


def choose_data(candidate: Candidate, job: QueuedJob | None) -> ChosenData | None:
    """The data for a retry of a task; None if neither Redis nor the store has any.

    The store's data wins, but the answer names Redis if Redis has the task. Other programs can write to Redis. Only
    data that the store had to rebuild gives way to whole data from Redis.
    """
    stored = candidate.data
    in_redis = None if job is None else job.task_data
    if job is not None and in_redis and not candidate.is_whole:
        return ChosenData(in_redis, job.priority, DataOrigin(REDIS))
    if stored is None:
        return None
    differs = bool(in_redis) and in_redis != stored.task_data
    warning = DIFFERS if differs else REBUILT if stored.is_rebuilt else None
    source = SOURCES[stored.place] if job is None else REDIS
    return ChosenData(stored.task_data, stored.priority, DataOrigin(source, warning, differs))


def position_in_redis(task_id: str, job: QueuedJob | None) -> Position:
    """The stand-in for the position of a task that the store does not have. A waiting one counts as in the ledger."""
    success = False if job is None else job.success
    statuses = {None: TaskStatus.PENDING, True: TaskStatus.SUCCESS, False: TaskStatus.FAILED}
    place = Place.LEDGER if success is None else Place.HISTORY
    return Position(task_id=task_id, place=place, status=statuses[success], chain_id=task_id)
