"""One task with everything known about it, and ids by their beginning, from all three tables."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.clock import utc_text
from everpost.store.history import RETRIES, IdMatch, KnownRetry, RawJob, TaskDetail
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.payloads import read_members
from everpost.store.sqlite.tasks.resolve import find_decisions
from everpost.task.place import Place

DAMAGED = "The stored task data is damaged; `task_data_text` is what is left of it"
SHOWN_BYTES = 1_000  # of a message without readable task data
LAST_CHARACTER = "\U0010ffff"

TIMES = ("created_at", "updated_at", "queued_at", "due_at", "started_at", "completed_at", "published_at", "archived_at")
JSON_FIELDS = ("attempts", "result")


def find_task(connection: sqlite3.Connection, task_id: str, zone: tzinfo) -> TaskDetail | None:
    """See `History.find_task`; times without an offset are read in `zone`."""
    with snapshot(connection):
        for place in Place:
            cursor = connection.execute(load(f"find_task_{place}"), {"task_id": task_id})
            row = cursor.fetchone()
            if row is not None:
                found = dict(zip((column[0] for column in cursor.description), row, strict=True))
                found |= {"place": place, "decisions": find_decisions(connection, task_id)}
                retries = connection.execute(load("find_retries"), {"task_id": task_id, "limit": RETRIES}).fetchall()
                return _detail(found, retries, zone)
    return None


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


def _detail(row: dict[str, Any], retries: Sequence[Sequence[Any]], zone: tzinfo) -> TaskDetail:
    fields = row | {name: utc_text(row[name], zone) for name in TIMES if row.get(name)}
    fields |= {name: _json_or_text(row.get(name)) for name in JSON_FIELDS}
    fields |= _read_data(fields.pop("data"))
    fields["status"] = fields["status"] or ""
    fields["raw_job"] = _raw_job(fields.get("raw_job"))
    fields["attempts"] = fields["attempts"] if isinstance(fields["attempts"], list) else []
    fields["inherited"] = bool(fields["inherited"])
    fields["generation"] = fields["generation"] or 0
    fields["retries"] = [
        KnownRetry(task_id, status or "", Place(place), utc_text(created_at, zone))
        for task_id, status, place, created_at in retries
    ]
    return TaskDetail(**fields)


def _id_range(prefix: str, beyond: str, limit: int) -> dict[str, Any]:
    """The range of ids that begin with `prefix`: SQLite compares texts byte by byte."""
    return {"first": prefix, "end": prefix + beyond, "limit": limit}


def _read_data(data: bytes | None) -> dict[str, Any]:
    if not data:
        return {}
    members = read_members(data)
    if members is not None:
        return {"task_data": members}
    return {"task_data_text": data.decode(errors="replace"), "note": DAMAGED}


def _raw_job(raw: bytes | None) -> RawJob | None:
    if raw is None:
        return None
    text = raw[:SHOWN_BYTES].decode("ascii", errors="backslashreplace")
    shown = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)
    return RawJob(size_bytes=len(raw), text=shown, base64=b64encode(raw).decode())


def _json_or_text(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
