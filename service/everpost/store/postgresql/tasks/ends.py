"""The end of a task: one statement moves its row from the ledger into the history (I1)."""

from collections.abc import Collection, Sequence

import msgspec

from everpost.store.failures import failure_row
from everpost.store.ledger import WithData
from everpost.store.postgresql.link.connection import Connection, TypedRow
from everpost.store.postgresql.link.texts import json_text, plain_text, storable
from everpost.store.postgresql.media.uses import note_ends
from everpost.store.postgresql.queries import ENDED_TABLES
from everpost.store.postgresql.tasks.attempts import Attempts
from everpost.store.postgresql.tasks.claims import note_attempts
from everpost.store.postgresql.tasks.failures import keep_failures
from everpost.store.postgresql.tasks.typed_rows import ended_values, failed_values
from everpost.store.task_rows import columns_of_bytes, ended_row, failure_of, stray_row
from everpost.task.model import Task, TaskRecord, TaskStatus


async def end_tasks(
    connection: Connection,
    records: Sequence[TaskRecord],
    overtaken: Sequence[TaskRecord] = (),
    with_data: WithData = lambda record: record,
) -> list[str]:
    """Record how tasks ended; the ids of the tasks whose end was recorded before. A second call changes nothing.

    See `everpost.store.ledger.Ledger.end`.
    """
    for record in overtaken:
        await _note(connection, record)
    await lock_batches(connection, records)
    first, others = split_by_task(await with_columns(connection, await _with_free_ids(connection, records)))
    moved = await _move(connection, first)
    missing = [*(record for record in first if record.task_id not in moved), *others]
    late: list[str] = []
    if missing:
        await connection.fetch_value("lock_ids", task_ids=[record.task_id for record in missing])
        late = [record.task_id for record in missing if await _keep_missing(connection, record, with_data)]
    await note_ends(connection, records)
    return late


async def lock_batches(connection: Connection, ending: Sequence[TaskRecord], accepted: Sequence[Task] = ()) -> None:
    """Lock the batches whose unfinished tasks a transaction of several statements will count."""
    root_ids = [task.root_id for task in accepted if task.callback_url is not None and task.root_id is not None]
    task_ids = [storable(record.task_id) for record in ending]
    if task_ids or root_ids:
        await connection.fetch_all("lock_batches", task_ids=task_ids, root_ids=root_ids)


def split_by_task(records: Sequence[TaskRecord]) -> tuple[list[TaskRecord], list[TaskRecord]]:
    """The first record of each task, which one statement can take, and all others."""
    first: dict[str, TaskRecord] = {}
    others = []
    for record in records:
        if record.task_id in first:
            others.append(record)
        else:
            first[record.task_id] = record
    return list(first.values()), others


def ending_of(records: Sequence[TaskRecord]) -> tuple[str, list[TypedRow]]:
    """The statement that ends tasks, and its rows. Only failures pay for what is kept of failures."""
    if all(record.status is not TaskStatus.FAILED for record in records):
        return "end_tasks", ended_values(records)
    return "end_failed_tasks", failed_values(records)


async def _with_free_ids(connection: Connection, records: Sequence[TaskRecord]) -> Sequence[TaskRecord]:
    """The records, with new ids for inherited rows whose ids the history has already."""
    if not records:
        return records
    rows = await connection.fetch_all("rename_inherited", task_ids=[record.task_id for record in records])
    new_ids = {row["task_id"]: row["new_id"] for row in rows}
    return [
        msgspec.structs.replace(record, task_id=new_ids[record.task_id]) if record.task_id in new_ids else record
        for record in records
    ]


async def with_columns(connection: Connection, records: Sequence[TaskRecord]) -> Sequence[TaskRecord]:
    """The records with their columns. If the worker could not read a payload, they come from the ledger's data."""
    lacking = [record.task_id for record in records if record.columns is None]
    if not lacking:
        return records
    rows = await connection.fetch_all("find_ledger_data", task_ids=lacking)
    data = {row["task_id"]: (row["data"] or "").encode() for row in rows}
    return [
        record
        if record.columns is not None
        else msgspec.structs.replace(record, columns=columns_of_bytes(data.get(record.task_id, record.task_data)))
        for record in records
    ]


async def _move(connection: Connection, records: Sequence[TaskRecord]) -> Collection[str]:
    """Move ledger rows into the history; the ids of those that were there."""
    if not records:
        return ()
    statement, values = ending_of(records)
    rows = await connection.write_rows(statement, values)
    return {row["task_id"] for row in rows}


async def _keep_missing(connection: Connection, record: TaskRecord, with_data: WithData) -> bool:
    """Keep a record without a ledger row; True if the task had ended before."""
    if await _move(connection, [record]):  # it came into the ledger a moment ago
        return False
    for table in ENDED_TABLES:
        row = await connection.fetch_one(f"lock_ended_{table}", task_id=record.task_id)
        if row is None:
            continue
        await _keep_late(connection, table, record, row["attempts"])
        return True
    row = stray_row(record, with_data)
    given = {name: plain_text(value) if isinstance(value, str) else value for name, value in row.items()}
    task_data = None if row["task_data"] is None else row["task_data"].decode(errors="replace")
    await connection.run("record_stray", **given | {"task_data": plain_text(task_data), "attempt": _json_of(record)})
    if (failure := failure_of(record)) is not None:
        await keep_failures(connection, [failure_row(row, failure)])
    return False


async def _keep_late(connection: Connection, table: str, record: TaskRecord, column: str | None) -> None:
    """Keep a late record with its task, which has ended, and whose row is locked."""
    attempts = Attempts(column)
    if record.attempt is not None:
        attempts.add_late(record.attempt, provider_post_id=record.provider_post_id, publish_url=record.publish_url)
    row = ended_row(record)
    names = ("task_id", "status", "finished_at", "provider_post_id", "publish_url", "result")
    values = {name: plain_text(row[name]) for name in names}
    await connection.run(f"record_late_{table}", **values, attempts=attempts.text)


async def _note(connection: Connection, record: TaskRecord) -> None:
    """Keep the attempt of an overtaken record, wherever its task is."""
    if record.attempt is None:
        return
    row = await connection.fetch_one("lock_claims", task_ids=[record.task_id])
    if row is not None:
        attempts = Attempts(row["attempts"])
        attempts.add_late(record.attempt)
        await note_attempts(connection, {record.task_id: attempts.text})
        return
    for table in ENDED_TABLES:
        row = await connection.fetch_one(f"lock_ended_{table}", task_id=record.task_id)
        if row is not None:
            await _keep_late(connection, table, record, row["attempts"])
            return


def _json_of(record: TaskRecord) -> str | None:
    return None if record.attempt is None else json_text(record.attempt)
