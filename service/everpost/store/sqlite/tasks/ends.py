"""The end of a task: one transaction moves its row from the ledger into the history (I1)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from everpost.store.failures import failure_row
from everpost.store.ledger import WithData
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.media.uses import note_ends
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tables import ENDED_TABLES
from everpost.store.sqlite.tasks.failures import keep_failures
from everpost.store.task_rows import columns_of_bytes, ended_row, failure_of, stray_row, times_of
from everpost.task.model import TaskRecord

NOT_IN_LEDGER = "not in the ledger"  # the message of the trigger in `ending.sql`


def end_tasks(
    connection: sqlite3.Connection,
    records: Sequence[TaskRecord],
    overtaken: Sequence[TaskRecord] = (),
    with_data: WithData = lambda record: record,
) -> list[str]:
    """Record how tasks ended; the ids of the tasks whose end was recorded before. A second call changes nothing.

    See `everpost.store.ledger.Ledger.end`.
    """
    for record in overtaken:
        _note(connection, ended_row(record))
    records = [_with_columns(connection, record) for record in records]
    if not records or _move(connection, records):
        late = []
    else:
        missing = (record for record in records if not _move(connection, [record]))
        late = [record.task_id for record in missing if _keep_missing(connection, record, with_data)]
    note_ends(connection, records)
    return late


def rows_of_ended(records: Sequence[TaskRecord]) -> list[tuple[Any, ...]] | None:
    """The records as rows for `end_tasks.sql`; None if one lacks its columns."""
    rows = []
    for record in records:
        if record.columns is None:
            return None
        rows.append(
            (
                record.task_id,
                record.status,
                *times_of(record),
                record.attempt,
                record.error_class,
                record.error_message,
                record.result,
                record.provider_post_id,
                record.publish_url,
                *msgspec.structs.astuple(record.columns),
                failure_of(record),
            )
        )
    return rows


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


def _keep_missing(connection: sqlite3.Connection, record: TaskRecord, with_data: WithData) -> bool:
    """Keep a record without a ledger row; True if the task had ended before."""
    if _record_late(connection, ended_row(record)):
        return True
    row = stray_row(record, with_data)
    connection.execute(load("record_stray"), row)
    if (failure := failure_of(record)) is not None:
        keep_failures(connection, [failure_row(row, failure)])
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
