"""The model of a publish task: its statuses and their moves, its id, and its forms."""

import os
from collections.abc import Mapping
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Any

import msgspec

from everpost.clock import SinceBoot

DEFAULT_PRIORITY = 5
MAX_ID = 128  # characters, all printable
PRIORITIES = range(10)  # a lower number is more urgent

WITHDRAWN_S = 30.0  # a task withdrawn from Redis is returned by the relay if it is still in the ledger after this time,
MOVED_WITHIN_S = 20.0  # so the transaction it was withdrawn for commits within this time, or never
HELD = 0  # stands in `sending` for a task that was unfinished in a restored backup; attempts begin at 1


class TaskStatus(StrEnum):
    """The status of a task; `MOVES` has the allowed moves."""

    PENDING = "pending"  # accepted; in the queue, or waiting for Redis
    SCHEDULED = "scheduled"  # due later
    RUNNING = "running"  # a worker holds its lease
    RETRY = "retry"  # waiting for its next automatic attempt
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # it may have reached the platform; a person decides (I6)


_S = TaskStatus
MOVES: Mapping[TaskStatus, frozenset[TaskStatus]] = MappingProxyType(
    {
        _S.SCHEDULED: frozenset({_S.PENDING, _S.RUNNING, _S.CANCELLED}),
        _S.PENDING: frozenset({_S.RUNNING, _S.CANCELLED, _S.SCHEDULED}),
        _S.RETRY: frozenset({_S.RUNNING, _S.CANCELLED, _S.SCHEDULED, _S.PENDING}),
        _S.RUNNING: frozenset({_S.SUCCESS, _S.FAILED, _S.UNKNOWN, _S.RETRY, _S.CANCELLED, _S.PENDING}),
        _S.UNKNOWN: frozenset({_S.SUCCESS, _S.CANCELLED}),
        _S.CANCELLED: frozenset({_S.SUCCESS}),
        _S.FAILED: frozenset({_S.SUCCESS}),
        _S.SUCCESS: frozenset(),
    }
)
"""The allowed moves.

A late result moves a task out of an ended status: an attempt that was given up on reports that the platform accepted
the post, and the record is corrected. A person's decision also moves a task out of `unknown`: it succeeded, or it is
sent again as a new task that replaces this one.
"""

WAITING = frozenset({_S.PENDING, _S.SCHEDULED, _S.RETRY})
UNFINISHED = WAITING | {_S.RUNNING}
ENDED = frozenset(TaskStatus) - UNFINISHED


class ErrorClass(StrEnum):
    """What an attempt's failure means for the next step; see `everpost.publishing` for the errors that have it."""

    TRANSIENT = "transient"  # tried again automatically while attempts last
    RATE_LIMITED = "rate_limited"  # tried again when the platform says; spends no attempt
    AUTH = "auth"
    NEEDS_PERSON = "needs_person"  # a captcha or a verification
    ACCOUNT_BLOCKED = "account_blocked"  # for good
    INVALID = "invalid"
    PERMANENT = "permanent"
    MANUAL = "manual"  # a person posts it, and decides then
    UNKNOWN = "unknown"  # the platform may have accepted it
    CRASHED = "crashed"  # its process died several times
    RESTORED = "restored"  # unfinished in a restored backup: it may have been sent since
    UNREADABLE = "unreadable"  # the job's message could not be decoded
    EXPIRED = "expired"  # the job's message had vanished
    CANCELLED = "cancelled"
    MISSED = "missed"  # it could not begin in time: see `late_after_s`


class PublisherClass(StrEnum):
    """What a publisher declares about itself, so that a lost answer never becomes a silent duplicate (I6).

    | class | what it declares | after a crash or timeout while sending |
    |---|---|---|
    | local | its effect is one atomic rename or row | rerun |
    | keyed | the platform takes an idempotency key | rerun with the same key while it is remembered, else unknown |
    | checkable | the platform can be asked, read-only, for the post | look it up, then confirm or rerun; else unknown |
    | none (default) | nothing | unknown: a person decides |
    """

    LOCAL = "local"
    KEYED = "keyed"
    CHECKABLE = "checkable"
    NONE = "none"

    @property
    def may_rerun(self) -> bool:
        """Whether an attempt with an unknown outcome may run again without a person's decision."""
        return self in {PublisherClass.LOCAL, PublisherClass.KEYED}


class SendPhase(StrEnum):
    """How far an attempt had come at its last sign of life."""

    CLAIMED = "claimed"  # a worker had claimed the task, and never reported
    PREPARING = "preparing"  # the publisher had not been called
    SENDING = "sending"  # the publisher had been called
    ANSWERED = "answered"  # the platform had answered, but the meaning of the answer is not known


class BytesSent(StrEnum):
    """Whether an attempt had sent anything to the platform."""

    YES = "yes"
    NO = "no"
    NOT_KNOWN = "not_known"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an attempt with an unknown outcome, for the person who decides.

    Attributes:
        last_words: The publisher's last report, shortened if it was long.
    """

    phase: SendPhase
    bytes_sent: BytesSent
    last_words: str | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One run of a publisher; `publish_tasks.attempts` is a JSON list of these.

    Attributes:
        started_at: If the attempt never reported: the time of its intent, or else the earliest possible time.
        finished_at: None if it never reported.
        evidence: Only if the outcome is unknown.
        since_boot: The start by the time since boot, if the age of its key may be needed.
        paused_s: For a rate-limited attempt: the sum of the pauses the task has been given so far, in seconds.
        omitted: The number of similar attempts before this one that are not listed.
        late: It reported after the task had ended, or after another worker had taken it over.
        alone: Its process died and ran nothing else.
        provider_post_id, publish_url: Those of a late success; the task may have those of another attempt.
    """

    number: int
    started_at: str
    finished_at: str | None = None
    outcome: TaskStatus
    error_class: ErrorClass | None = None
    error: str | None = None
    worker: str | None = None
    evidence: Evidence | None = None
    since_boot: SinceBoot | None = None
    paused_s: float | None = None
    omitted: int = 0
    late: bool = False
    alone: bool = False
    provider_post_id: str | None = None
    publish_url: str | None = None


UNTOLD = ""
"""The stored address of a task without a `callback_url` of its own in a batch that is told when all have ended."""


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a task that decides its place in Redis.

    Attributes:
        due_at_ms: The earliest time to run, in UTC milliseconds; None means as soon as possible.
    """

    task_id: str
    priority: int = DEFAULT_PRIORITY
    created_at_ms: int
    due_at_ms: int | None = None


class Task(QueueEntry, frozen=True, kw_only=True):
    """An accepted task: a row of the ledger, and the data sent to the worker.

    Attributes:
        task_data: The client's whole JSON object, encoded once; the same bytes are used everywhere (I4).
        platform: The catalogue's name of the platform.
        retry_of: The id of the task this one retries.
        root_id: The first task of the retry chain; None if this task is not a retry.
        generation: The number of retries between the root and this task.
        accepted_by: Who wrote the ledger row; None only for rows inherited from an original file.
        file_ids: The ids of the files it names, as `everpost.store.files` has them.
        callback_url: The address that is told of its end; `UNTOLD` if it has none, and counts for its batch.
        late_at_ms: The latest time to begin, in UTC milliseconds; None is no limit.
        submitted_by: The name of the caller that submitted it, or the task that it retries; None if it has no name.
    """

    task_data: bytes
    platform: str
    account_id: str
    title: str = ""
    retry_of: str | None = None
    root_id: str | None = None
    generation: int = 0
    batch_id: str | None = None
    accepted_by: str | None = None
    file_ids: tuple[str, ...] = ()
    callback_url: str | None = None
    late_at_ms: int | None = None
    submitted_by: str | None = None

    @property
    def chain_id(self) -> str:
        """The id that all tasks of one retry chain share."""
        return self.root_id or self.task_id

    def status_at(self, now_ms: int) -> TaskStatus:
        """The status this task starts with if it is accepted at `now_ms`."""
        later = self.due_at_ms is not None and self.due_at_ms > now_ms
        return TaskStatus.SCHEDULED if later else TaskStatus.PENDING


class TaskColumns(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a task's data that have their own columns in the history, as texts."""

    platform: str | None = None
    account_id: str | None = None
    material_id: str | None = None
    title: str | None = None
    tags: str | None = None
    cover: str | None = None
    schedule_time: str | None = None
    publish_mode: str | None = None


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended: the row that is written to the history.

    `task_data` and its columns are used only if the ledger has no row, for example for a stock arq client's job.
    Otherwise the ledger's own data goes into the history. `raw_job` is the message of such a job without readable task
    data. `file_ids` are those of the files that the attempt used.
    """

    task_id: str
    status: TaskStatus
    task_data: bytes | None = None
    columns: "TaskColumns | None" = None
    priority: int = DEFAULT_PRIORITY
    retry_of: str | None = None
    queued_at_ms: int | None = None
    started_at_ms: int | None = None
    finished_at_ms: int
    attempt: Attempt | None = None
    error_class: ErrorClass | None = None
    error_message: str | None = None
    result: str | None = None
    provider_post_id: str | None = None
    publish_url: str | None = None
    raw_job: bytes | None = None
    file_ids: tuple[str, ...] = ()


def columns_of(data: Mapping[str, Any]) -> TaskColumns:
    """The columns of a task's data; each value becomes a text or None."""
    return TaskColumns(
        platform=_text(data.get("platform")),
        account_id=_text(data.get("account_id")),
        material_id=_text(data.get("file_id", data.get("material_id"))),
        title=_text(data.get("title")),
        tags=_text(data.get("tags")),
        cover=_text(data.get("cover")),
        schedule_time=_text(data.get("schedule_time")),
        publish_mode=_text(data.get("publish_mode", "auto")),
    )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def is_task_id(text: str) -> bool:
    """Whether a task can have this id: 1 to `MAX_ID` printable characters. arq's clients choose their own ids."""
    return 0 < len(text) <= MAX_ID and text.isprintable()


def new_task_id(now_ms: int) -> str:
    """A UUIDv7 (RFC 9562 §5.7) as 32 hex digits, so that rows of similar times are close together in every index."""
    bits = now_ms << 80 | _random.getrandbits(80)
    return f"{bits & ~_FIXED_BITS | _VERSION_7:032x}"


def derived_task_id(time_ms: int, digest: bytes) -> str:
    """An id as `new_task_id` makes it, of a digest of 10 bytes or more instead of chance."""
    bits = time_ms << 80 | int.from_bytes(digest[:10])
    return f"{bits & ~_FIXED_BITS | _VERSION_7:032x}"


def first_id_of(time_ms: int) -> str:
    """A text that sorts before all ids made from this time on, and after all earlier ones."""
    return f"{max(0, time_ms) << 80:032x}"


_random = Random()  # noqa: S311 - ids must be unique, not secret, and os.urandom costs a system call each time
os.register_at_fork(after_in_child=_random.seed)
_FIXED_BITS = 0xF << 76 | 0x3 << 62
_VERSION_7 = 0x7 << 76 | 0x2 << 62  # and the variant of RFC 9562
