"""Tasks and records as the named values of a row, for the statements of any store."""

from typing import Any

import msgspec

from everpost.clock import to_text, to_text_or_none
from everpost.store.ledger import WithData
from everpost.task.failure_cause import cause_of
from everpost.task.file_refs import keys_of
from everpost.task.model import Task, TaskColumns, TaskRecord, TaskStatus, columns_of

NO_COLUMNS = TaskColumns()
MOST_ACCOUNTS = 100  # that are listed with a file


def accepted_row(task: Task, now_ms: int) -> dict[str, Any]:
    """A task's first row in the ledger; the last columns, which few tasks have, are left out if they are NULL.

    SQLite's `accept_tasks.sql` takes the values in this order.
    """
    row = {
        "task_id": task.task_id,
        "priority": task.priority,
        "status": task.status_at(now_ms).value,
        "task_data": task.task_data.decode(),
        "created_at": to_text(task.created_at_ms),
        "platform": task.platform,
        "account_id": task.account_id,
        "title": task.title,
        "due_at": to_text_or_none(task.due_at_ms),
        "retry_of": task.retry_of,
        "root_id": task.root_id,
        "generation": task.generation,
        "batch_id": task.batch_id,
        "accepted_by": task.accepted_by,
        "callback_url": task.callback_url,
    }
    if task.submitted_by is not None:
        return row | {"late_at": to_text_or_none(task.late_at_ms), "submitted_by": task.submitted_by}
    return row if task.late_at_ms is None else row | {"late_at": to_text(task.late_at_ms)}


def ended_row(record: TaskRecord) -> dict[str, Any]:
    """How a task ended, with the columns of its data."""
    queued_at, started_at, finished_at = times_of(record)
    return {
        **msgspec.structs.asdict(record.columns or NO_COLUMNS),
        "task_id": record.task_id,
        "status": record.status.value,
        "task_data": record.task_data,
        "priority": record.priority,
        "retry_of": record.retry_of,
        "queued_at": queued_at,
        "started_at": started_at,
        "finished_at": finished_at,
        "attempt": msgspec.json.encode(record.attempt).decode() if record.attempt else None,
        "error_class": record.error_class.value if record.error_class else None,
        "error_message": record.error_message,
        "result": record.result,
        "provider_post_id": record.provider_post_id,
        "publish_url": record.publish_url,
        "raw_job": record.raw_job,
    }


def stray_row(record: TaskRecord, with_data: WithData) -> dict[str, Any]:
    """How a task ended that no place has, with its data and the columns of the data."""
    whole = with_data(record)
    if whole.columns in {None, NO_COLUMNS}:
        whole = msgspec.structs.replace(whole, columns=columns_of_bytes(whole.task_data))
    return ended_row(whole)


def failure_of(record: TaskRecord) -> dict[str, Any] | None:
    """The cause of a failed task, and when it ended; None if it did not fail."""
    if record.status is not TaskStatus.FAILED:
        return None
    cause = cause_of(record.error_class, record.error_message)
    return {"cause": cause.id, "text": cause.text, "ended_s": record.finished_at_ms // 1000}


def times_of(record: TaskRecord) -> tuple[str | None, str | None, str]:
    """When it was queued, and when its attempts began and ended."""
    return to_text_or_none(record.queued_at_ms), to_text_or_none(record.started_at_ms), to_text(record.finished_at_ms)


def columns_of_bytes(task_data: bytes | None) -> TaskColumns:
    """The columns of encoded task data; `NO_COLUMNS` if it cannot be read."""
    try:
        data = msgspec.json.decode(task_data or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NO_COLUMNS
    return columns_of(data) if isinstance(data, dict) else NO_COLUMNS


def keys_of_bytes(task_data: str | bytes | None) -> tuple[str, ...]:
    """The ids of the files that encoded task data name; none if it cannot be read."""
    try:
        data = msgspec.json.decode(task_data or b"null")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ()
    return keys_of(data) if isinstance(data, dict) else ()


def with_account(accounts: str | None, account_id: str | None) -> str:
    """A file's `last_accounts` with one more account at the end, each once; a column without a list is dropped."""
    try:
        listed = msgspec.json.decode(accounts or "[]", type=list[str])
    except msgspec.DecodeError:
        listed = []
    if account_id is not None:
        listed = [*(one for one in listed if one != account_id), account_id]
    return msgspec.json.encode(listed[-MOST_ACCOUNTS:]).decode()
