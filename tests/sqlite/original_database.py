"""Database files as the original system leaves them, for tests to adopt."""

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from everpost.store.sqlite.library import sqlite3

PUBLISH_TASKS = {
    "task_id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "celery_task_id": "TEXT UNIQUE",
    "plan_id": "TEXT",
    "package_id": "INTEGER",
    "platform": "TEXT",
    "account_id": "TEXT",
    "material_id": "TEXT",
    "title": "TEXT",
    "tags": "TEXT",
    "cover": "TEXT",
    "schedule_time": "DATETIME",
    "publish_mode": "TEXT DEFAULT 'auto'",
    "status": "TEXT DEFAULT 'pending'",
    "external_user_id": "TEXT",
    "external_account_id": "TEXT",
    "result_metrics": "TEXT",
    "error_message": "TEXT",
    "created_at": "DATETIME DEFAULT CURRENT_TIMESTAMP",
    "updated_at": "DATETIME DEFAULT CURRENT_TIMESTAMP",
    "published_at": "DATETIME",
    "completed_at": "DATETIME",
    "task_data": "TEXT",
    "priority": "INTEGER DEFAULT 5",
}
"""The history's columns; a file may lack any of them but the row number."""

TASK_QUEUE = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "task_id": "TEXT UNIQUE NOT NULL",
    "task_type": "TEXT NOT NULL",
    "priority": "INTEGER DEFAULT 5",
    "status": "TEXT DEFAULT 'pending'",
    "data": "TEXT",
    "result": "TEXT",
    "error_message": "TEXT",
    "retry_count": "INTEGER DEFAULT 0",
    "max_retries": "INTEGER DEFAULT 3",
    "created_at": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
    "started_at": "TIMESTAMP",
    "completed_at": "TIMESTAMP",
    "updated_at": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
}

FILE_RECORDS = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "filename": "TEXT",
    "filesize": "REAL",
    "file_path": "TEXT",
    "upload_time": "DATETIME DEFAULT CURRENT_TIMESTAMP",
    "status": "TEXT DEFAULT 'pending'",
    "title": "TEXT",
    "tags": "TEXT",
}

TASK_DATA: Mapping[str, Any] = {
    "platform": 1,
    "account_id": "test_account",
    "file_id": 123,
    "title": "测试视频",
    "description": "这是描述",
    "tags": ["测试", "视频"],
}
"""The original's example task."""


def make_original(
    path: Path,
    *,
    without: Collection[str] = (),
    unique: bool = True,
    queue: bool = True,
    materials: bool = True,
    statements: Iterable[str] = (),
) -> Path:
    """An original file, empty.

    Args:
        path: Where; nothing is there yet.
        without: Columns of the history to leave out, as an old file lacks them.
        unique: Whether the id is UNIQUE; it is not where the column came by ALTER TABLE.
        queue: Whether the ledger is in this file too; otherwise it is in a second one.
        materials: Whether there is a `file_records`, with a row.
        statements: More SQL, such as indexes of its own.
    """
    history = {name: definition for name, definition in PUBLISH_TASKS.items() if name not in without}
    if not unique and "celery_task_id" in history:
        history["celery_task_id"] = "TEXT"
    _create(path, "publish_tasks", history)
    if queue:
        _create(path, "task_queue", TASK_QUEUE)
    if materials:
        _create(path, "file_records", FILE_RECORDS)
        insert(path, "file_records", {"filename": "视频.mp4", "filesize": 12.5, "file_path": "a/视频.mp4"})
    run(path, *statements)
    return path


def make_task_queue(path: Path, *, without: Collection[str] = (), **changed: str) -> Path:
    """The original's second file, `task_queue.db`, empty; `changed` are column definitions to use instead."""
    columns = {name: definition for name, definition in TASK_QUEUE.items() if name not in without}
    _create(path, "task_queue", columns | changed)
    return path


def insert(path: Path, table: str, *rows: Mapping[str, Any]) -> None:
    """Add rows; a value is a Python one, or `Raw` SQL."""
    with closing(sqlite3.connect(path)) as connection:
        for row in rows:
            values = ", ".join(value if isinstance(value, Raw) else "?" for value in row.values())
            given = [value for value in row.values() if not isinstance(value, Raw)]
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", given)
        connection.commit()


class Raw(str):
    """SQL to stand as a value, for what Python cannot bind, such as text that is no UTF-8."""

    __slots__ = ()


NOT_UTF8 = Raw("CAST(x'b2e2cad4ff' AS TEXT)")
"""Text in another encoding (GBK, then a stray byte), as a careless client may have written it."""


def finished_task(number: int, **changed: Any) -> dict[str, Any]:
    """A row of the history."""
    return {
        "celery_task_id": f"celery-{number}",
        "platform": "1",
        "account_id": "test_account",
        "material_id": "123",
        "title": "测试视频",
        "tags": '["测试", "视频"]',
        "status": "success",
        "created_at": f"2025-01-{number % 28 + 1:02} 08:00:00",
        "updated_at": f"2025-01-{number % 28 + 1:02} 08:01:00",
        "task_data": json.dumps(TASK_DATA, ensure_ascii=False),
        "priority": 3,
    } | changed


def queued_task(number: int, **changed: Any) -> dict[str, Any]:
    """A row of the ledger."""
    return {
        "task_id": f"queue-{number}",
        "task_type": "publish",
        "status": "pending",
        "data": json.dumps(TASK_DATA, ensure_ascii=False),
        "created_at": f"2025-02-{number % 28 + 1:02} 08:00:00",
    } | changed


def run(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL; the rows of the last statement. Text that is no UTF-8 is read with replacements."""
    rows: list[tuple[Any, ...]] = []
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = lambda value: value.decode(errors="replace")
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        connection.commit()
    return rows


def _create(path: Path, table: str, columns: Mapping[str, str]) -> None:
    run(path, f"CREATE TABLE {table} ({', '.join(f'{name} {definition}' for name, definition in columns.items())})")
