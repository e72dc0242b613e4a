"""Which unfinished tasks use which files; inside the transactions that write tasks and their ends."""

from collections.abc import Iterable, Sequence

from everpost.clock import to_text
from everpost.store.files import UnknownFileError
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.texts import storable
from everpost.store.postgresql.queries import ENDED_TABLES
from everpost.store.task_rows import keys_of_bytes, with_account
from everpost.task.edit_rules import Edited
from everpost.task.file_refs import is_own_id
from everpost.task.model import Task, TaskRecord, TaskStatus


async def check_files(connection: Connection, tasks: Iterable[Task]) -> None:
    """Check that the files which new tasks name are there, and keep them from being removed until the commit.

    Raises:
        UnknownFileError: A task names a file by an id of Everpost's, and it has no record.
    """
    named = sorted({storable(key) for task in tasks for key in task.file_ids})
    rows = await connection.fetch_all("lock_files", file_ids=named)
    known = {row["file_id"] for row in rows}
    for key in named:
        if key not in known and is_own_id(key):
            raise UnknownFileError(key)


async def use_files(connection: Connection, tasks: Iterable[Task | Edited]) -> None:
    """Note the files that new tasks or versions of tasks name; the others have no record, or are the client's own."""
    uses = [(storable(key), task.task_id) for task in tasks for key in task.file_ids]
    if uses:
        file_ids, task_ids = (list(column) for column in zip(*uses, strict=True))
        await connection.run("use_files", file_ids=file_ids, task_ids=task_ids)


async def note_ends(connection: Connection, records: Iterable[TaskRecord]) -> None:
    """Mark the files of tasks that have succeeded, and forget who used them; the tasks are in the history."""
    for record in records:
        if not record.file_ids:
            continue
        ended_at = to_text(record.finished_at_ms)
        if record.status is TaskStatus.SUCCESS:
            await mark_published(connection, record.task_id, ended_at, record.file_ids)
        await _forget(connection, [(file_id, record.task_id) for file_id in sorted(record.file_ids)], ended_at)


async def mark_published(
    connection: Connection, task_id: str, published_at: str, file_ids: Sequence[str] | None = None
) -> None:
    """Mark the files that an ended task was published with; None takes those that its data name."""
    task = await _find_ended(connection, task_id)
    if task is None:
        return
    for file_id in sorted(keys_of_bytes(task["task_data"]) if file_ids is None else file_ids):
        row = await connection.fetch_one("file_accounts", file_id=storable(file_id))
        if row is not None:
            accounts = with_account(row["last_accounts"], task["account_id"])
            given = {"file_id": file_id, "published_at": published_at, "platform": task["platform"]}
            await connection.run("mark_published", **given, accounts=accounts)


async def _find_ended(connection: Connection, task_id: str) -> Record | None:
    for table in ENDED_TABLES:
        row = await connection.fetch_one(f"find_published_{table}", task_id=task_id)
        if row is not None:
            return row
    return None


async def find_users(
    connection: Connection, *, file_id: str, limit: int, reach: Sequence[str] | None = None
) -> list[str]:
    """See `everpost.store.files.Files.users`."""
    among = None if reach is None else [storable(one) for one in reach]
    rows = await connection.fetch_all("find_users", file_id=storable(file_id), limit=limit, reach=among)
    return [row["task_id"] for row in rows]


async def forget_uses(connection: Connection, *, now: str, limit: int) -> int:
    """See `everpost.store.files.Files.forget_uses`."""
    rows = await connection.fetch_all("ended_uses", limit=limit)
    await _forget(connection, [(row["file_id"], row["task_id"]) for row in rows], now)
    return len(rows)


async def _forget(connection: Connection, uses: Iterable[tuple[str, str]], now: str) -> None:
    for file_id, task_id in uses:
        await connection.run("note_use", now=now, file_id=storable(file_id))
        await connection.run("forget_use", file_id=storable(file_id), task_id=task_id)
