"""How tasks move to the archive, inside the transaction of the caller."""

from collections.abc import Collection
from typing import Any

import msgspec

from everpost.clock import to_text
from everpost.store.archive import Reason
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load


def archive_rows(
    connection: sqlite3.Connection, rows: Collection[int], reason: Reason, now_ms: int, *, task_id: str | None = None
) -> None:
    """Move rows of `publish_tasks`, given by number; `task_id` is for rows that are there without their id."""
    if not rows:
        return
    parameters: dict[str, Any] = {"rows": msgspec.json.encode(list(rows)).decode()}
    archived = {"now": to_text(now_ms), "reason": reason.value, "task_id": task_id}
    connection.execute(load("archive_rows"), parameters | archived)
    connection.execute(load("unsearch_rows"), parameters)
    connection.execute(load("forget_rows"), parameters)
