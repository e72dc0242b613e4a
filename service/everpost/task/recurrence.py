"""Recurring posts: the model, and the decision which occurrence is made next. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import tzinfo
from enum import StrEnum
from itertools import chain, islice, takewhile
from types import MappingProxyType
from typing import Any

import msgspec

from everpost.clock import from_text
from everpost.task.callbacks import callback_url_of
from everpost.task.cron import last_time_until, times_after
from everpost.task.file_refs import keys_of
from everpost.task.late_rules import latest_start_ms
from everpost.task.model import DEFAULT_PRIORITY, Task, derived_task_id
from everpost.task.schedule_times import local_text

AHEAD_MS = 15_000  # an occurrence's task is made so long before its time; a new leader is found sooner
MOST_COUNTED = 1_000  # missed occurrences that are counted one by one


class RecurrenceStatus(StrEnum):
    """Whether occurrences are made."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"  # its last time is past


class Recurrence(msgspec.Struct, frozen=True, kw_only=True):
    """A post that is made again and again. Times are UTC text.

    Attributes:
        version: Counts people's changes.
        reason: Why it was paused, unless a person did.
        timezone: The IANA name of the zone of its times; None takes the account's, or `EVERPOST_TIMEZONE`.
        until_at: No occurrence is made after this time.
        task_data: The data of each task, without its time.
        next_at: The next occurrence of which no task exists; None unless it is active.
        last_at: The last occurrence of which a task was made.
        made: How many tasks were made.
        missed: How many occurrences have no task, because nothing could make it in time.
    """

    recurrence_id: str
    name: str
    version: int = 1
    status: RecurrenceStatus = RecurrenceStatus.ACTIVE
    reason: str | None = None
    cron: str
    timezone: str | None = None
    until_at: str | None = None
    task_data: bytes
    platform: str
    account_id: str
    next_at: str | None = None
    last_at: str | None = None
    last_task_id: str | None = None
    made: int = 0
    missed: int = 0
    created_at: str
    updated_at: str


class Occurrence(msgspec.Struct, frozen=True):
    """What follows when an occurrence is near, or past.

    Attributes:
        time_ms: The occurrence that is made.
        next_ms: The one after it; None if it is the last.
        missed: How many earlier ones are not made.
    """

    time_ms: int
    next_ms: int | None
    missed: int


def next_time(recurrence: Recurrence, zone: tzinfo, after_ms: int) -> int | None:
    """The first occurrence after a time, in UTC milliseconds; None after the last one."""
    return next(iter(next_times(recurrence, zone, after_ms, 1)), None)


def next_times(recurrence: Recurrence, zone: tzinfo, after_ms: int, count: int) -> list[int]:
    """The first occurrences after a time, in UTC milliseconds, at most `count`."""
    until_ms = from_text(recurrence.until_at)
    times = islice(times_after(recurrence.cron, zone, after_ms), count)
    return [time_ms for time_ms in times if until_ms is None or time_ms <= until_ms]


def decide_occurrence(recurrence: Recurrence, zone: tzinfo, now_ms: int) -> Occurrence | None:
    """Which occurrence is made now; None if the next one is not near.

    After an outage only the newest of those that are past is made, so that they do not come all at once. Whether it is
    still sent is decided by its `late_after_s`, as for every task.
    """
    first_ms = from_text(recurrence.next_at)
    if first_ms is None or first_ms > now_ms + AHEAD_MS:
        return None
    if first_ms > now_ms:
        return Occurrence(first_ms, next_time(recurrence, zone, first_ms), 0)
    until_ms = min(now_ms, from_text(recurrence.until_at) or now_ms)
    newest_ms = max(last_time_until(recurrence.cron, zone, until_ms) or first_ms, first_ms)
    missed = chain((first_ms,), times_after(recurrence.cron, zone, first_ms))
    count = sum(1 for _ in islice(takewhile(lambda time_ms: time_ms < newest_ms, missed), MOST_COUNTED))
    return Occurrence(newest_ms, next_time(recurrence, zone, newest_ms), count)


def task_of_occurrence(
    recurrence: Recurrence,
    time_ms: int,
    zone: tzinfo,
    *,
    late_after_s: float | None,
    now_ms: int,
    accepted_by: str,
    callback_options: Mapping[str, Any] = MappingProxyType({}),
) -> Task:
    """The task of an occurrence. Its id is derived from the occurrence, so several leaders make one task.

    Args:
        late_after_s: The limit of its platform, if its data has none.
        callback_options: Those of the platform `callback`.
    """
    data: dict[str, Any] = msgspec.json.decode(recurrence.task_data)
    data["schedule_time"] = local_text(time_ms, zone)
    name = f"{recurrence.recurrence_id}:{recurrence.version}:{time_ms}"
    return Task(
        task_id=derived_task_id(time_ms, hashlib.sha256(name.encode()).digest()),
        task_data=msgspec.json.encode(data),
        platform=recurrence.platform,
        account_id=recurrence.account_id,
        title=str(data.get("title") or ""),
        priority=_priority_of(data),
        created_at_ms=now_ms,
        due_at_ms=time_ms,
        batch_id=recurrence.recurrence_id,
        accepted_by=accepted_by,
        file_ids=keys_of(data),
        callback_url=callback_url_of(data.get("callback_url"), callback_options),
        late_at_ms=latest_start_ms(data.get("late_after_s"), late_after_s, None, time_ms),
    )


def _priority_of(data: Mapping[str, Any]) -> int:
    priority = data.get("priority")
    return priority if isinstance(priority, int) else DEFAULT_PRIORITY
