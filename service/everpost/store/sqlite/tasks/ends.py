"""The end of a task: one transaction moves its row from the ledger into the history (I1)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from everpost.clock import to_text, to_text_or_none
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tables import ENDED_TABLES
from everpost.task.model import TaskColumns, TaskRecord, columns_of

NO_COLUMNS = TaskColumns()
NOT_IN_LEDGER = "not in the ledger"  # the message of the trigger in `ending.sql`


def end_tasks(
    connection: sqlite3.Connection, records: Sequence[TaskRecord], overtaken: Sequence[TaskRecord] = ()
) -> list[str]:
    """Record how tasks ended; the ids of the tasks whose end was recorded before. A second call changes nothing.

    See `everpost.store.ledger.Ledger.end`.
    """
    for record in overtaken:
        _note(connection, record_parameters(record))
    records = [_with_columns(connection, record) for record in records]
    if not records or _move(connection, records):
        return []
    return [
        record.task_id for record in records if not _move(connection, [record]) and _record_stray(connection, record)
    ]


def rows_of_ended(records: Sequence[TaskRecord]) -> list[tuple[Any, ...]] | None:
    """The records as rows for `end_tasks.sql`; None if one lacks its columns."""
    if any(record.columns is None for record in records):
        return None
    return [(record, *_times(record)) for record in records]


def _move(connection: sqlite3.Connection, records: Sequence[TaskRecord]) -> bool:
    """Move the ledger rows into the history, all or none; False if a record has no ledger row."""
    rows = msgspec.json.encode(rows_of_ended(records)).decode()
    try:
        connection.execute(load("end_tasks"), {"rows": rows})
    except sqlite3.IntegrityError as error:
        if str(error) != NOT_IN_LEDGER:
            raise
        return False
    return True


def _record_stray(connection: sqlite3.Connection, record: TaskRecord) -> bool:
    """Keep a record without a ledger row; True if the task had ended before."""
    row = record_parameters(record)
    if _record_late(connection, row):
        return True
    connection.execute(load("record_stray"), row)
    return False


def _record_late(connection: sqlite3.Connection, row: dict[str, Any]) -> bool:
    """Keep a late record with its task, which has ended; False if no ended task has the id."""
    return any(connection.execute(load(f"record_late_{table}"), row).fetchall() for table in ENDED_TABLES)


def _note(connection: sqlite3.Connection, row: dict[str, Any]) -> None:
    if row["attempt"] is not None and connection.execute(load("note_attempt"), row).rowcount == 0:
        _record_late(connection, row)


def _with_columns(connection: sqlite3.Connection, record: TaskRecord) -> TaskRecord:
    """The record with its columns. If the worker could not read the payload, they come from the ledger's data."""
    if record.columns is not None:
        return record
    found = connection.execute(load("ledger_data"), {"task_id": record.task_id}).fetchone()
    return msgspec.structs.replace(record, columns=columns_of_bytes(found[0] if found else record.task_data))


def columns_of_bytes(task_data: bytes | None) -> TaskColumns:
    """The columns of encoded task data; `NO_COLUMNS` if it cannot be read."""
    try:
        data = msgspec.json.decode(task_data or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NO_COLUMNS
    return columns_of(data) if isinstance(data, dict) else NO_COLUMNS


def record_parameters(record: TaskRecord) -> dict[str, Any]:
    """The record as the parameters of `record_stray.sql`, `record_late.sql` and `note_attempt.sql`."""
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
        "raw_job": record.raw_job,
    }


def _times(record: TaskRecord) -> tuple[str | None, str | None, str]:
    """When it was queued, started and finished."""
    return to_text_or_none(record.queued_at_ms), to_text_or_none(record.started_at_ms), to_text(record.finished_at_ms)
