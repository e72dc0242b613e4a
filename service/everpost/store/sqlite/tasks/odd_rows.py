"""Ledger rows that no worker can run because another program damaged them: the fault, and how they end (I1)."""

from typing import Any

from everpost.clock import to_text
from everpost.store.relay import MayBeSent, OddFacts, SetAside
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.task.model import (
    MAX_ID,
    Attempt,
    BytesSent,
    ErrorClass,
    Evidence,
    SendPhase,
    TaskRecord,
    TaskStatus,
    is_task_id,
)

MOST_DATA_BYTES = 256 << 20
"""The largest task that goes to Redis, which takes at most 512 MB in one value."""

NO_ID = f"its task_id is not 1 to {MAX_ID} printable characters"
NO_DATA = "its data is NULL"
TOO_LARGE = f"its data is larger than {MOST_DATA_BYTES >> 20} MiB"


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


def set_aside_row(
    connection: sqlite3.Connection, row: int, fault: str, may_be_sent: MayBeSent, now_ms: int
) -> SetAside | None:
    """Move a row that cannot be run from the ledger into the history; None if it has left the ledger already.

    Columns that would break the history are mended first: an unreadable id becomes `row-NUMBER`, and attempts that are
    not a list are dropped. The data stays as it is.

    Raises:
        sqlite3.IntegrityError: The history has a task with that id already.
    """
    found = connection.execute(load("find_odd_row"), {"row": row}).fetchone()
    if found is None:
        return None
    odd = _read(row, *found)
    connection.execute(load("mend_odd_row"), {"row": row, "task_id": odd.task_id, "attempts": odd.attempts})
    record = _record_of(odd, fault, may_be_sent=may_be_sent(odd), now_ms=now_ms)
    end_tasks(connection, [record])
    return SetAside(odd.task_id, record.status)


def _read(row: int, task_id: bytes | None, platform: bytes | None, sending: Any, attempts: str | None) -> OddFacts:
    return OddFacts(
        task_id=readable_id(task_id) or f"row-{row}",
        platform=None if platform is None else platform.decode(errors="replace"),
        sending=sending,
        attempts=attempts,
    )


def _record_of(odd: OddFacts, fault: str, *, may_be_sent: bool, now_ms: int) -> TaskRecord:
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
