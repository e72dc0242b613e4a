"""One task with everything known about it, and ids by their beginning, from all three tables."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from everpost.clock import utc_text
from everpost.store.history import RETRIES, IdMatch, TaskDetail
from everpost.store.lists.detail import detail_of
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.edit import find_edits
from everpost.store.sqlite.tasks.positions import json_list
from everpost.store.sqlite.tasks.resolve import find_decisions
from everpost.task.place import Place

LAST_CHARACTER = "\U0010ffff"


def find_task(connection: sqlite3.Connection, task_id: str, zone: tzinfo) -> TaskDetail | None:
    """See `History.find_task`; times without an offset are read in `zone`."""
    with snapshot(connection):
        for place in Place:
            cursor = connection.execute(load(f"find_task_{place}"), {"task_id": task_id})
            row = cursor.fetchone()
            if row is not None:
                found = dict(zip((column[0] for column in cursor.description), row, strict=True))
                found["place"] = place
                if found.pop("is_decided"):
                    found["decisions"] = find_decisions(connection, task_id)
                if found.pop("is_edited"):
                    found["edits"] = find_edits(connection, task_id)
                retries = _find_retries(connection, found) if found.pop("is_retried") else ()
                return detail_of(found, retries, zone)
    return None


def _find_retries(connection: sqlite3.Connection, found: dict[str, Any]) -> list[Any]:
    task_id = found["task_id"]
    asked = {"task_id": task_id, "chain_id": found["root_id"] or task_id, "limit": RETRIES}
    return connection.execute(load("find_retries"), asked).fetchall()


def find_ids(connection: sqlite3.Connection, prefix: str, limit: int, zone: tzinfo) -> list[IdMatch]:
    """See `History.find_ids`."""
    with snapshot(connection):
        rows = connection.execute(load("find_ids"), _id_range(prefix, "\0", limit)).fetchall()
        rows += connection.execute(load("find_ids"), _id_range(prefix, LAST_CHARACTER, limit)).fetchall()
    found: dict[str, IdMatch] = {}
    for task_id, place, status, title, created_at in rows:
        told = IdMatch(task_id, Place(place), status or "", title, utc_text(created_at, zone))
        found.setdefault(task_id, told)  # an original file may have an id in two tables
    return list(found.values())[:limit]


def data_of_tasks(connection: sqlite3.Connection, task_ids: Sequence[str], most_bytes: int) -> dict[str, bytes]:
    """See `History.data_of`."""
    found: dict[str, bytes] = {}
    left = most_bytes
    for task_id, data in connection.execute(load("data_of_tasks"), {"task_ids": json_list(task_ids)}):
        if data is not None:
            left -= len(data)
            if found and left < 0:
                break
            found[task_id] = data
    return found


def _id_range(prefix: str, beyond: str, limit: int) -> dict[str, Any]:
    """The range of ids that begin with `prefix`: SQLite compares texts byte by byte."""
    return {"first": prefix, "end": prefix + beyond, "limit": limit}
