"""Moving removed tasks back from the archive into the history."""

from datetime import UTC

from everpost.store.changes import BringBack, Outcome, outcomes_of_bringing_back
from everpost.store.failures import failure_of_row
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text, storable
from everpost.store.postgresql.tasks.failures import keep_failures
from everpost.store.postgresql.tasks.positions import find_rows
from everpost.task.model import TaskStatus


async def bring_back(connection: Connection, change: BringBack) -> list[Outcome]:
    """See `everpost.store.changes.BringBack`.

    The ids are locked, so that no late end overlooks a task on its way, and the chains, so that no retry does.
    """
    chain_ids = [row.position.chain_id for row in await find_rows(connection, change.task_ids)]
    task_ids = sorted({task_id for task_id in change.task_ids if storable(task_id) == task_id})
    await connection.fetch_value("lock_ids", task_ids=[*task_ids, *chain_ids])
    rows = await connection.fetch_all("bring_back", task_ids=task_ids)
    urls = [
        {name: row[name] for name in ("task_id", "callback_url")} for row in rows if row["callback_url"] is not None
    ]
    if urls:
        await connection.run("set_callback_url", rows=json_text(urls))
    await keep_failures(connection, [failure_of_row(row, UTC) for row in rows if row["status"] == TaskStatus.FAILED])
    return outcomes_of_bringing_back(change.task_ids, {row["task_id"] for row in rows})
