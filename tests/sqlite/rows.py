"""Rows in a SQLite file: tasks written by the store's own classes, and whatever else SQL can write."""

from typing import Any, cast

import store_rows
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.store import SqliteStore
from everpost.task.model import Task, TaskStatus
from everpost.testing import Stack
from store_rows import START_MS


def database_of(stack: Stack) -> Database:
    """The database under a stack's own store."""
    return cast("SqliteStore", stack.store).database


async def accept(database: Database, *tasks: Task) -> None:
    """Write tasks into the ledger."""
    await store_rows.accept(SqliteStore(database), *tasks)


async def end(database: Database, *task_ids: str, status: TaskStatus = TaskStatus.FAILED, **fields: Any) -> None:
    """Let tasks of the ledger end."""
    await store_rows.end(SqliteStore(database), *task_ids, status=status, **fields)


async def add_ended(database: Database, *tasks: Task, status: TaskStatus = TaskStatus.FAILED, **fields: Any) -> None:
    """Write tasks down that have ended."""
    await store_rows.add_ended(SqliteStore(database), *tasks, status=status, **fields)


async def remove(database: Database, *task_ids: str, now_ms: int = START_MS) -> dict[str, str | None]:
    """Move tasks to the archive; why the others stay."""
    return await store_rows.remove(SqliteStore(database), *task_ids, now_ms=now_ms)


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
