"""A task with everything known about it, made of a store's row."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.clock import utc_text
from everpost.store.history import KnownRetry, RawJob, TaskDetail
from everpost.store.payloads import read_members
from everpost.task.place import Place

DAMAGED = "The stored task data is damaged; `task_data_text` is what is left of it"
SHOWN_BYTES = 1_000  # of a message without readable task data

TIMES = ("created_at", "updated_at", "queued_at", "due_at", "started_at", "completed_at", "published_at", "archived_at")
JSON_FIELDS = ("attempts", "result", "checkpoint")


def detail_of(row: dict[str, Any], retries: Sequence[Sequence[Any]], zone: tzinfo) -> TaskDetail:
    """The task of a row with its `place`, `decisions` and `edits`, its data as `data`, and the rows of its retries.

    A time without an offset is read in `zone`.
    """
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
