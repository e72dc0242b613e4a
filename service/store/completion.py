"""The end of a task: in one transaction its row leaves the ledger and stands in the history (I1)."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from service.clock import to_text, to_text_or_none
from service.store.queries import load
from service.store.sqlite import sqlite3
from service.task import TaskColumns, TaskRecord, columns_of

NO_COLUMNS = TaskColumns()


def complete_tasks(
    connection: sqlite3.Connection, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord] = ()
) -> list[str]:
    """Record how tasks ended; the ids of those whose end had been recorded before. Once more, it changes nothing.

    Of the `overtaken`, which somebody else ends or has ended, only the attempts are kept. A record whose ledger row is
    gone is a late result, kept with the task it belongs to, or a job no ledger row announced, which gets a history row
    of its own.
    """
    for record in overtaken:
        _note(connection, record_parameters(record))
    records = [_with_columns(connection, record) for record in records]
    if len(records) > 1:
        moved = _move_all(connection, records)
        records = [record for record in records if record.task_id not in moved]
    rows = [record_parameters(record) for record in records]
    return [row["task_id"] for row in rows if not _move(connection, row) and _record_stray(connection, row)]


def _move_all(connection: sqlite3.Connection, records: Sequence[TaskRecord]) -> Collection[str]:
    """Move the ledger rows of all records that have one, with two statements; the ids of these.

    A statement for each would have this thread wait for the interpreter's lock as often.
    """
    task_ids = {record.task_id for record in records}
    if len(task_ids) < len(records):  # one by one, then: the second record of a task is a late result
        return ()
    given = {"task_ids": msgspec.json.encode(task_ids).decode()}
    ended = msgspec.json.encode([(record, *_times(record)) for record in records]).decode()
    if connection.execute(load("complete_tasks"), {"ended": ended}).rowcount == len(records):
        connection.execute(load("forget_tasks"), given)
        return task_ids
    return {task_id for (task_id,) in connection.execute(load("forget_tasks_told"), given)}


def _move(connection: sqlite3.Connection, row: dict[str, Any]) -> bool:
    """Move the ledger row into the history; False if there is none."""
    if connection.execute(load("complete_task"), row).rowcount == 0:
        return False
    connection.execute(load("forget_task"), row)
    return True


def _record_stray(connection: sqlite3.Connection, row: dict[str, Any]) -> bool:
    """Keep a result no ledger row waits for; True if the task had ended already."""
    if _record_late(connection, row):
        return True
    connection.execute(load("record_stray"), row)
    return False


def _record_late(connection: sqlite3.Connection, row: dict[str, Any]) -> bool:
    """Keep a result with the task it belongs to; False if it has not ended."""
    return any(
        connection.execute(load(f"record_late_{table}"), row).fetchall()
        for table in ("publish_tasks", "publish_tasks_archive")
    )


def _note(connection: sqlite3.Connection, row: dict[str, Any]) -> None:
    if row["attempt"] is not None and connection.execute(load("note_attempt"), row).rowcount == 0:
        _record_late(connection, row)


def _with_columns(connection: sqlite3.Connection, record: TaskRecord) -> TaskRecord:
    """The record with its columns; where the worker could not read the payload, they come from the ledger's data."""
    if record.columns is not None:
        return record
    found = connection.execute(load("ledger_data"), {"task_id": record.task_id}).fetchone()
    return msgspec.structs.replace(record, columns=columns_of_bytes(found[0] if found else record.task_data))


def columns_of_bytes(task_data: bytes | None) -> TaskColumns:
    """The columns of encoded task data; none if it cannot be read."""
    try:
        data = msgspec.json.decode(task_data or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NO_COLUMNS
    return columns_of(data) if isinstance(data, dict) else NO_COLUMNS


def record_parameters(record: TaskRecord) -> dict[str, Any]:
    """The record as the parameters of `complete_task.sql` and its fellows."""
    queued_at, started_at, finished_at = _times(record)
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
    }


def _times(record: TaskRecord) -> tuple[str | None, str | None, str]:
    """When it was queued, started and finished."""
    return to_text_or_none(record.queued_at_ms), to_text_or_none(record.started_at_ms), to_text(record.finished_at_ms)
