"""Moving removed tasks back from the archive into the history."""

from datetime import UTC

from everpost.store.changes import BringBack, Outcome, outcomes_of_bringing_back
from everpost.store.failures import failure_of_row
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.duplicates import named_rows
from everpost.store.sqlite.tasks.failures import keep_failures
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.model import TaskStatus


def bring_back(connection: sqlite3.Connection, change: BringBack) -> list[Outcome]:
    """See `everpost.store.changes.BringBack`. A row gets a new number, so that the search finds it again."""
    ids = json_list(list(dict.fromkeys(change.task_ids)))
    rows = named_rows(connection, "find_removed", {"task_ids": ids})
    given = {"rows": json_list([str(row["number"]) for row in rows])}
    for statement in ("bring_back_rows", "bring_back_callbacks", "forget_archived_rows"):
        connection.execute(load(statement), given)
    failed = [failure_of_row(row, UTC) for row in rows if row["status"] == TaskStatus.FAILED]
    keep_failures(connection, failed)
    return outcomes_of_bringing_back(change.task_ids, {row["task_id"] for row in rows})
