"""Tasks in a database, for tests of the store: accepted ones and ended ones, made quickly."""

import json
from collections.abc import Sequence
from typing import Any

from everpost.store.archive import Reason
from everpost.store.changes import Remove
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.changes import SqliteChanges
from everpost.store.sqlite.tasks.ledger import SqliteLedger
from everpost.task.model import ErrorClass, Task, TaskRecord, TaskStatus
from everpost.task.removal_rules import decide_removal

START_MS = 1_790_000_000_000


def make_task(task_id: str, **changed: Any) -> Task:
    """A task nobody has accepted yet; what is given beside a Task's own fields goes into its data."""
    fields = {name: changed.pop(name) for name in list(changed) if name in Task.__struct_fields__}
    data = {"platform": "douyin", "account_id": "a", "title": "测试视频", "description": "这是描述", **changed}
    data |= {name: fields[name] for name in ("account_id", "title") if name in fields}
    defaults: dict[str, Any] = {
        "task_data": json.dumps(data, ensure_ascii=False).encode(),
        "platform": "douyin",
        "account_id": "a",
        "title": "测试视频",
        "created_at_ms": START_MS,
        "accepted_by": "test",
    }
    return Task(**defaults | fields, task_id=task_id)


async def accept(database: Database, *tasks: Task) -> None:
    """Write tasks into the ledger."""
    await SqliteLedger(database).accept(tasks, START_MS)


async def end(database: Database, *task_ids: str, status: TaskStatus = TaskStatus.FAILED, **fields: Any) -> None:
    """Let tasks of the ledger end."""
    if status is TaskStatus.FAILED:
        fields = {"error_class": ErrorClass.AUTH, "error_message": "Sign in again", **fields}
    records = [
        TaskRecord(**{"finished_at_ms": START_MS + 1_000} | fields, task_id=task_id, status=status)
        for task_id in task_ids
    ]
    await SqliteLedger(database).end(records)


async def add_ended(database: Database, *tasks: Task, status: TaskStatus = TaskStatus.FAILED, **fields: Any) -> None:
    """Write tasks down that have ended."""
    await accept(database, *tasks)
    await end(database, *(task.task_id for task in tasks), status=status, **fields)


async def remove(database: Database, *task_ids: str, now_ms: int = START_MS) -> dict[str, str | None]:
    """Move tasks to the archive; why the others stay."""
    change = Remove(task_ids, Reason.DELETED, decide_removal)
    return {outcome.task_id: outcome.reason for outcome in await SqliteChanges(database).apply(change, now_ms)}


async def select(database: Database, statement: str, *parameters: Any) -> list[Any]:
    """Rows of a query."""
    return await database.read(lambda connection: connection.execute(statement, parameters).fetchall())


async def insert(database: Database, table: str, *rows: dict[str, Any]) -> None:
    """Rows as an original file may hold them."""

    def add(connection: sqlite3.Connection) -> None:
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))

    await database.write(add)


def ids(items: Sequence[Any]) -> list[str]:
    """The ids of a page's items."""
    return [item.task_id for item in items]
