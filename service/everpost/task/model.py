"""What a publish task is: its statuses and their moves, its id, and the shapes it has on its way."""

import os
from collections.abc import Mapping
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Any

import msgspec

from everpost.clock import SinceBoot

DEFAULT_PRIORITY = 5
MAX_ID = 128  # characters; every one printable
PRIORITIES = range(10)  # a lower number is more urgent

WITHDRAWN_S = (
    30.0  # a task withdrawn from Redis and still in the ledger after so long was abandoned: the relay returns it
)
MOVED_WITHIN_S = 20.0  # so what it was withdrawn for is written earlier than that, or not at all
HELD = 0  # in place of the attempt that is sending, on a row a restored backup left unfinished; attempts begin at 1


class TaskStatus(StrEnum):
    """Where a task is on its way; `MOVES` says where it may go from there."""

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
        _S.PENDING: frozenset({_S.RUNNING, _S.CANCELLED}),
        _S.RETRY: frozenset({_S.RUNNING, _S.CANCELLED}),
        _S.RUNNING: frozenset({_S.SUCCESS, _S.FAILED, _S.UNKNOWN, _S.RETRY, _S.CANCELLED, _S.PENDING}),
        _S.UNKNOWN: frozenset({_S.SUCCESS, _S.CANCELLED}),
        _S.CANCELLED: frozenset({_S.SUCCESS}),
        _S.FAILED: frozenset({_S.SUCCESS}),
        _S.SUCCESS: frozenset(),
    }
)
"""Legal moves. The ones out of an ended status are made by a late result: an attempt everybody had given up on
reports that the platform accepted the post, and the record has to tell the truth. Out of `unknown` also by a person's
decision: it succeeded, or it is sent again and this task is replaced by the new one."""

WAITING = frozenset({_S.PENDING, _S.SCHEDULED, _S.RETRY})
UNFINISHED = WAITING | {_S.RUNNING}
ENDED = frozenset(TaskStatus) - UNFINISHED


class ErrorClass(StrEnum):
    """What an attempt's failure means for the next step; see `everpost.publishing` for who raises which."""

    TRANSIENT = "transient"  # tried again automatically while attempts last
    RATE_LIMITED = "rate_limited"  # tried again when the platform says; spends no attempt
    AUTH = "auth"
    INVALID = "invalid"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"  # the platform may have accepted it
    CRASHED = "crashed"  # the worker running it died, several times over
    RESTORED = "restored"  # unfinished in a backup that was restored: it may have been sent since
    UNREADABLE = "unreadable"  # the queued payload could not be decoded
    EXPIRED = "expired"  # the queued payload was gone when its turn came
    CANCELLED = "cancelled"


class PublisherClass(StrEnum):
    """What a publisher declares about itself, so that a lost answer never becomes a silent duplicate (I6).

    | class | it declares | after a crash or timeout once sending began |
    |---|---|---|
    | local | its effect is one atomic rename or row | rerun |
    | keyed | the platform takes an idempotency key | rerun with the same key while it is remembered, else unknown |
    | checkable | the platform can be asked, read-only, for the post | look, then confirm or rerun; else unknown |
    | none (default) | nothing | unknown: a person decides |
    """

    LOCAL = "local"
    KEYED = "keyed"
    CHECKABLE = "checkable"
    NONE = "none"

    @property
    def may_rerun(self) -> bool:
        """Whether an attempt whose outcome is not known may run again without a person's word."""
        return self in {PublisherClass.LOCAL, PublisherClass.KEYED}


class SendPhase(StrEnum):
    """How far an attempt had come when it was last heard of."""

    CLAIMED = "claimed"  # a worker had taken the task, and never reported
    PREPARING = "preparing"  # the publisher had not been called
    SENDING = "sending"  # the publisher had been called
    ANSWERED = "answered"  # the platform had answered, and what it meant is not known


class BytesSent(StrEnum):
    """Whether anything of an attempt had left for the platform."""

    YES = "yes"
    NO = "no"
    NOT_KNOWN = "not_known"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an attempt whose outcome is not, for the person who decides.

    Attributes:
        last_words: What the publisher said last, cut short if it was long.
    """

    phase: SendPhase
    bytes_sent: BytesSent
    last_words: str | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One run of a publisher; `publish_tasks.attempts` is a JSON list of these.

    Attributes:
        started_at: Of one that never reported, its intent's time, else the earliest it can have been.
        finished_at: None if it never reported.
        evidence: Only where the outcome is not known.
        since_boot: When it started by a clock that nobody sets, where the age of its key may be asked for.
        paused_s: Of a rate-limited one: the pauses for rate limits that the task has been given so far, in seconds.
        omitted: How many like this one lie between the one listed before it and this one, and are not listed.
        late: It reported after the task had ended, or had been taken over.
        alone: Its process died, and ran nothing else.
        provider_post_id, publish_url: Of a late success; the task may have those of another attempt.
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


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What of a task tells where it has to stand in Redis.

    Attributes:
        due_at_ms: UTC milliseconds before which it must not run; None runs as soon as possible.
    """

    task_id: str
    priority: int = DEFAULT_PRIORITY
    created_at_ms: int
    due_at_ms: int | None = None


class Task(QueueEntry, frozen=True, kw_only=True):
    """An accepted task: a row of the ledger, and what travels to the worker.

    Attributes:
        task_data: The client's whole JSON object, encoded once; the same bytes go everywhere (I4).
        platform: The catalogue's name of the platform.
        retry_of: The id of the task this one retries.
        root_id: The first task of the retry chain; None on a task that is no retry.
        generation: How many deliberate retries lie between the root and this task.
        accepted_by: Who wrote the ledger row; None only on rows inherited from an original file.
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

    @property
    def chain_id(self) -> str:
        """The id every task of one retry chain shares."""
        return self.root_id or self.task_id

    def status_at(self, now_ms: int) -> TaskStatus:
        """The status this task starts with when it is accepted at `now_ms`."""
        later = self.due_at_ms is not None and self.due_at_ms > now_ms
        return TaskStatus.SCHEDULED if later else TaskStatus.PENDING


class TaskColumns(msgspec.Struct, frozen=True, kw_only=True):
    """What of a task's data has a column of its own in the history, as texts."""

    platform: str | None = None
    account_id: str | None = None
    material_id: str | None = None
    title: str | None = None
    tags: str | None = None
    cover: str | None = None
    schedule_time: str | None = None
    publish_mode: str | None = None


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended: what the completion hook writes to the history.

    `task_data` and the columns taken from it are used only where the ledger has no row, as for a job that a stock arq
    client enqueued; otherwise the ledger's own go into the history. `raw_job` is such a job's message where no task
    data could be taken from it.
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


def columns_of(data: Mapping[str, Any]) -> TaskColumns:
    """The columns of a task's data; whatever stands in it, each becomes a text or None."""
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
    """Whether a task can have this id: 1 to `MAX_ID` printable characters. arq's clients choose their own."""
    return 0 < len(text) <= MAX_ID and text.isprintable()


def new_task_id(now_ms: int) -> str:
    """A UUIDv7 (RFC 9562 §5.7) as 32 hex digits, so that rows of one time lie together in every index."""
    bits = now_ms << 80 | _random.getrandbits(80)
    return f"{bits & ~_FIXED_BITS | _VERSION_7:032x}"


def first_id_of(time_ms: int) -> str:
    """What sorts before every id made since, and behind every one made before."""
    return f"{max(0, time_ms) << 80:032x}"


_random = Random()  # noqa: S311 - ids have to differ, not to be secret, and os.urandom is a system call each
os.register_at_fork(after_in_child=_random.seed)
_FIXED_BITS = 0xF << 76 | 0x3 << 62
_VERSION_7 = 0x7 << 76 | 0x2 << 62  # with the variant of RFC 9562
