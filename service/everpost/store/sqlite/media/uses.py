"""Which unfinished tasks use which files; inside the transactions that write tasks and their ends."""

from collections.abc import Iterable, Sequence

import msgspec

from everpost.clock import to_text
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tables import ENDED_TABLES
from everpost.store.task_rows import keys_of_bytes, with_account
from everpost.task.edit_rules import Edited
from everpost.task.file_refs import is_own_id
from everpost.task.model import Task, TaskRecord, TaskStatus


def use_files(connection: sqlite3.Connection, tasks: Iterable[Task | Edited]) -> None:
    """Note the files that new tasks, or new versions of tasks, name."""
    if uses := [(key, task.task_id) for task in tasks for key in task.file_ids]:
        connection.execute(load("use_files"), {"uses": msgspec.json.encode(uses).decode()})


def find_missing(connection: sqlite3.Connection, tasks: Iterable[Task]) -> str | None:
    """A file that a task names by an id of Everpost's, and that has no record; None if all have records."""
    named = sorted({key for task in tasks for key in task.file_ids if is_own_id(key)})
    if not named:
        return None
    rows = connection.execute(load("find_files"), {"file_ids": msgspec.json.encode(named).decode()})
    known = {row[0] for row in rows}
    return next((key for key in named if key not in known), None)


def note_ends(connection: sqlite3.Connection, records: Iterable[TaskRecord]) -> None:
    """Mark the files of tasks that have succeeded, and forget who used them; the tasks are in the history."""
    for record in records:
        if not record.file_ids:
            continue
        ended_at = to_text(record.finished_at_ms)
        if record.status is TaskStatus.SUCCESS:
            mark_published(connection, record.task_id, ended_at, record.file_ids)
        for file_id in record.file_ids:
            connection.execute(load("note_use"), {"file_id": file_id, "now": ended_at})
            connection.execute(load("forget_use"), {"file_id": file_id, "task_id": record.task_id})


def mark_published(
    connection: sqlite3.Connection, task_id: str, published_at: str, file_ids: Sequence[str] | None = None
) -> None:
    """Mark the files that an ended task was published with; None takes those that its data name."""
    task = _find_ended(connection, task_id)
    if task is None:
        return
    platform, account_id, task_data = task
    for file_id in keys_of_bytes(task_data) if file_ids is None else file_ids:
        row = connection.execute(load("file_accounts"), {"file_id": file_id}).fetchone()
        if row is not None:
            given = {"file_id": file_id, "published_at": published_at, "platform": platform}
            connection.execute(load("mark_published"), {**given, "accounts": with_account(row[0], account_id)})


def _find_ended(connection: sqlite3.Connection, task_id: str) -> tuple[str | None, str | None, str | None] | None:
    found = (connection.execute(load(f"find_published_{table}"), {"task_id": task_id}) for table in ENDED_TABLES)
    return next((row for rows in found if (row := rows.fetchone()) is not None), None)


def find_users(
    connection: sqlite3.Connection, *, file_id: str, limit: int, reach: Sequence[str] | None = None
) -> list[str]:
    """See `everpost.store.files.Files.users`."""
    among = None if reach is None else msgspec.json.encode(reach).decode()
    rows = connection.execute(load("find_users"), {"file_id": file_id, "limit": limit, "reach": among})
    return [str(row[0]) for row in rows]


def forget_uses(connection: sqlite3.Connection, *, now: str, limit: int) -> int:
    """See `everpost.store.files.Files.forget_uses`."""
    ended = connection.execute(load("ended_uses"), {"limit": limit}).fetchall()
    for file_id, task_id in ended:
        connection.execute(load("note_use"), {"file_id": file_id, "now": now})
        connection.execute(load("forget_use"), {"file_id": file_id, "task_id": task_id})
    return len(ended)
