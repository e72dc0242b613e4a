"""One task with everything known about it, and ids by their beginning, from all three tables."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.clock import utc_text
from everpost.store.edits import SHOWN_EDITS, kept_edits
from everpost.store.history import RETRIES, IdMatch, TaskDetail
from everpost.store.lists.detail import detail_of
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.texts import storable
from everpost.task.place import Place
from everpost.task.resolution_rules import Decided

FIRST_CHARACTER, LAST_CHARACTER = "\1", "\U0010ffff"


async def find_task(connection: Connection, task_id: str, zone: tzinfo) -> TaskDetail | None:
    """See `History.find_task`; times without an offset are read in `zone`."""
    if storable(task_id) != task_id:
        return None
    for place in Place:
        row = await connection.fetch_one(f"find_task_{place}", task_id=task_id)
        if row is not None:
            found = row | {"place": place}
            retries = await _find_retries(connection, found) if found.pop("is_retried") else ()
            if found.pop("is_decided"):
                found["decisions"] = await find_decisions(connection, task_id)
            if found.pop("is_edited"):
                edits = await connection.fetch_all("find_edits", task_id=task_id, limit=SHOWN_EDITS)
                found["edits"] = kept_edits(edits)
            found["data"] = None if row["data"] is None else row["data"].encode()
            return detail_of(found, retries, zone)
    return None


async def _find_retries(connection: Connection, found: Record) -> list[tuple[Any, ...]]:
    task_id = found["task_id"]
    chain_id = found["root_id"] or task_id
    retries = await connection.fetch_all("find_retries", task_id=task_id, chain_id=chain_id, limit=RETRIES)
    return [tuple(retry.values()) for retry in retries]


async def find_ids(connection: Connection, prefix: str, limit: int, zone: tzinfo) -> list[IdMatch]:
    """See `History.find_ids`."""
    if storable(prefix) != prefix:
        return []
    found: dict[str, IdMatch] = {}
    for beyond in (FIRST_CHARACTER, LAST_CHARACTER):  # the id that is the prefix itself comes first
        rows = await connection.fetch_all("find_ids", first=prefix, end=prefix + beyond, limit=limit)
        for task_id, place, status, title, created_at in (row.values() for row in rows):
            told = IdMatch(task_id, Place(place), status or "", title, utc_text(created_at, zone))
            found.setdefault(task_id, told)  # an original file may have an id in two tables
    return list(found.values())[:limit]


async def find_decisions(connection: Connection, task_id: str) -> Sequence[Decided]:
    """The decisions on a task, and the one it was made by; the oldest first."""
    rows: list[dict[str, Any]] = await connection.fetch_all("find_decisions", task_id=task_id)
    return [msgspec.convert(row, Decided) for row in rows]
