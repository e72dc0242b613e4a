"""A task's first row: into the ledger, once for each Idempotency-Key."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from service.clock import to_text, to_text_or_none
from service.store.queries import load
from service.store.sqlite import sqlite3
from service.task import Task


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A client's Idempotency-Key, and the digest of the body it came with."""

    key: str
    fingerprint: str


def accept_parameters(task: Task, now_ms: int) -> dict[str, Any]:
    """The row of a task, for `accept_task.sql` and `accept_tasks.sql`."""
    return {
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
    }


def accept_tasks(connection: sqlite3.Connection, tasks: Sequence[Task], now_ms: int) -> None:
    """Write the rows of tasks, all in one statement."""
    if tasks:
        rows = msgspec.json.encode([accept_parameters(task, now_ms) for task in tasks]).decode()
        connection.execute(load("accept_tasks"), {"rows": rows})


def accept_task(connection: sqlite3.Connection, parameters: Mapping[str, Any], key: IdempotencyKey) -> str | None:
    """Write the row and its key; the id of the task accepted before if the key was used for the same body already.

    None, and no error, if it was used with another one: an error would have all that is committed together done again.
    """
    known = connection.execute(load("find_idempotency_key"), {"key": key.key}).fetchone()
    if known is not None:
        return str(known[1]) if known[0] == key.fingerprint else None
    task_id: str = parameters["task_id"]
    kept = {"key": key.key, "fingerprint": key.fingerprint, "task_id": task_id}
    connection.execute(load("keep_idempotency_key"), {**kept, "created_at": parameters["created_at"]})
    connection.execute(load("accept_task"), parameters)
    return task_id
