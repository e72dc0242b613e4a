"""An event, in the form that readers get, and which events a reader wants."""

from enum import StrEnum
from typing import Any

import msgspec

from everpost.access import Caller
from everpost.task.model import TaskStatus

_encode = msgspec.json.Encoder().encode


class EventType(StrEnum):
    """The type of an event."""

    ACCEPTED = "task.accepted"
    STARTED = "task.started"
    PROGRESS = "task.progress"
    ENDED = "task.ended"
    CHANGED = "task.changed"
    RESET = "reset"


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened to a task. Fields that are not known are left out.

    Attributes:
        at: When it was told, by the clock of Redis.
        change: Only of `task.changed`: `retried`, `deferred` (an attempt failed; the next one is at `due_at`),
            `edited`, `resolved`, `removed` or `brought_back`.
        retried_as: Only of `retried`: the new task.
        attempts: How many attempts were made so far.
        done, total: Only of `task.progress`: how far the attempt has come, in its publisher's unit.
    """

    task_id: str
    at: str
    status: TaskStatus | str = ""
    change: str | None = None
    retried_as: str | None = None
    platform: str | None = None
    account_id: str | None = None
    title: str | None = None
    priority: int | None = None
    batch_id: str | None = None
    retry_of: str | None = None
    submitted_by: str | None = None
    created_at: str | None = None
    due_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    attempts: int = 0
    error_class: str | None = None
    error_message: str | None = None
    provider_post_id: str | None = None
    publish_url: str | None = None
    done: float | None = None
    total: float | None = None


class Event(msgspec.Struct, frozen=True):
    """An event that was made once for all readers.

    Attributes:
        number: Tells it from the other events of its entry.
        text: As it is sent.
        is_callback: It is about a callback, which is a task of Everpost's own.
    """

    type: EventType
    task_id: str
    number: int
    text: bytes
    platform: str | None = None
    account_id: str | None = None
    batch_id: str | None = None
    is_callback: bool = False


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a reader wants: those that match every field given.

    Attributes:
        platform: The catalogue's name.
        caller: The reader, whose scope the events are in; None reaches all.
    """

    types: frozenset[str] | None = None
    platform: str | None = None
    account_id: str | None = None
    batch_id: str | None = None
    task_ids: frozenset[str] | None = None
    caller: Caller | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """The name and value of a field that all matching events share; None if the filter gives no such field."""
        if self.batch_id is not None:
            return "batch_id", self.batch_id
        return None if self.account_id is None else ("account_id", self.account_id)

    def matches(self, event: Event) -> bool:
        """Whether the reader wants the event. Callbacks are wanted only if a platform or ids are given."""
        if event.is_callback and self.platform is None and self.task_ids is None:
            return False
        return (
            (self.types is None or event.type in self.types)
            and (self.platform is None or event.platform == self.platform)
            and (self.account_id is None or event.account_id == self.account_id)
            and (self.batch_id is None or event.batch_id == self.batch_id)
            and (self.task_ids is None or event.task_id in self.task_ids)
            and (self.caller is None or self.caller.may_reach(event.platform or "", event.account_id))
        )


def keys_of(event: Event) -> list[tuple[str, str] | None]:
    """The keys of all filters that may want the event."""
    keys: list[tuple[str, str] | None] = [None]
    if event.account_id is not None:
        keys.append(("account_id", event.account_id))
    if event.batch_id is not None:
        keys.append(("batch_id", event.batch_id))
    return keys


def sse(kind: EventType, event_id: str, data: Any) -> bytes:
    """An event as text of Server-Sent Events (HTML Living Standard, 9.2.5)."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), kind.value.encode(), _encode(data))
