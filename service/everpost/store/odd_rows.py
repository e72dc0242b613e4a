"""Rows of the ledger that another program may have damaged: how they are read, why they cannot be run, how they end."""

from collections.abc import Sequence
from typing import Any

from everpost.clock import from_text, to_text
from everpost.store.relay import OddFacts
from everpost.task.model import (
    DEFAULT_PRIORITY,
    MAX_ID,
    PRIORITIES,
    Attempt,
    BytesSent,
    ErrorClass,
    Evidence,
    QueueEntry,
    SendPhase,
    Task,
    TaskRecord,
    TaskStatus,
    is_task_id,
)

MOST_DATA_BYTES = 256 << 20
"""The largest task that goes to Redis, which takes at most 512 MB in one value."""

NO_ID = f"its task_id is not 1 to {MAX_ID} printable characters"
NO_DATA = "its data is NULL"
TOO_LARGE = f"its data is larger than {MOST_DATA_BYTES >> 20} MiB"
ODD = "?"  # for a malformed `accepted_by`: None would mean an inherited row


def fault_of_data(size_bytes: int | None) -> str | None:
    """Why a row's data cannot be run; None if it can. `size_bytes` is None if the data is NULL."""
    if size_bytes is None:
        return NO_DATA
    return TOO_LARGE if size_bytes > MOST_DATA_BYTES else None


def readable_id(value: bytes | None) -> str | None:
    """A row's id; None if callers could not use it. `value` is None if the column holds no text."""
    try:
        text = (value or b"").decode()
    except UnicodeDecodeError:
        return None
    return text if is_task_id(text) else None


def entry_of(task_id: bytes | None, priority: Any, created_at: Any, due_at: Any) -> QueueEntry | None:
    """The entry of a row; None if its id cannot be read."""
    name = readable_id(task_id)
    if name is None:
        return None
    return QueueEntry(
        task_id=name,
        priority=_priority_of(priority),
        created_at_ms=_time_of(created_at) or 0,
        due_at_ms=_time_of(due_at),
    )


def task_of(row: Sequence[Any]) -> Task:
    """The task in a row of `runnable_tasks.sql`, as it goes to Redis. Malformed values are left out."""
    data, task_id, priority, due_at, retry_of, root_id, generation, batch_id, *rest = row
    platform, account_id, title, created_at, accepted_by = rest
    return Task(
        task_id=task_id,
        task_data=data,
        platform=_text_of(platform) or "",
        account_id=_text_of(account_id) or "",
        title=_text_of(title) or "",
        priority=_priority_of(priority),
        created_at_ms=_time_of(created_at) or 0,
        due_at_ms=_time_of(due_at),
        retry_of=_text_of(retry_of),
        root_id=_text_of(root_id),
        generation=generation if isinstance(generation, int) else 0,
        batch_id=_text_of(batch_id),
        accepted_by=_text_of(accepted_by) or ODD,
    )


def record_of_odd(odd: OddFacts, fault: str, *, may_be_sent: bool, now_ms: int) -> TaskRecord:
    """How an odd task ends: as unknown if an attempt may have reached the platform, else as failed."""
    message = f"It was set aside, because its row in the ledger cannot be run: {fault}"
    return TaskRecord(
        task_id=odd.task_id,
        status=TaskStatus.UNKNOWN if may_be_sent else TaskStatus.FAILED,
        finished_at_ms=now_ms,
        attempt=_attempt_of(odd, message, now_ms) if may_be_sent else None,
        error_class=ErrorClass.UNREADABLE,
        error_message=message,
    )


def _attempt_of(odd: OddFacts, message: str, now_ms: int) -> Attempt:
    phase = SendPhase.CLAIMED if odd.sending is None else SendPhase.SENDING
    return Attempt(
        number=max(odd.sending or 1, 1),
        started_at=to_text(now_ms),
        outcome=TaskStatus.UNKNOWN,
        error_class=ErrorClass.UNREADABLE,
        error=message,
        evidence=Evidence(phase=phase, bytes_sent=BytesSent.NOT_KNOWN),
    )


def _priority_of(value: Any) -> int:
    """A row's priority. A malformed one counts as the default, because it must not keep the row from running."""
    return value if isinstance(value, int) and value in PRIORITIES else DEFAULT_PRIORITY


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _time_of(value: Any) -> int | None:
    """A row's time; None if it is malformed: another program wrote it, and the row is due at once."""
    try:
        return from_text(value)
    except (ValueError, TypeError, OverflowError):
        return None
