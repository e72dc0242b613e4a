"""Moving removed tasks back from the archive into the history."""

from datetime import UTC

from everpost.store.changes import BringBack, Outcome, outcomes_of_bringing_back
from everpost.store.failures import failure_of_row
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text
from everpost.store.postgresql.tasks.failures import keep_failures
from everpost.task.model import TaskStatus


async def bring_back(connection: Connection, change: BringBack) -> list[Outcome]:
    """See `everpost.store.changes.BringBack`."""
    task_ids = sorted(set(change.task_ids))
    await connection.fetch_value("lock_ids", task_ids=task_ids)
    rows = await connection.fetch_all("bring_back", task_ids=task_ids)
    urls = [{"task_id": row["task_id"], "callback_url": row["callback_url"]} for row in rows if row["callback_url"]]
    if urls:
        await connection.run("set_callback_url", rows=json_text(urls))
    await keep_failures(connection, [failure_of_row(row, UTC) for row in rows if row["status"] == TaskStatus.FAILED])
    return outcomes_of_bringing_back(change.task_ids, {row["task_id"] for row in rows})
