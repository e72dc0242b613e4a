"""One task with everything that is known of it, whichever table it lies in."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any

import msgspec

from everpost.clock import utc_text
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.snapshot import snapshot
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.decisions import find_decisions
from everpost.store.sqlite.tasks.payloads import read_members
from everpost.task.place import Place
from everpost.task.resolution_rules import Decided

DAMAGED = "The stored task data is damaged; `task_data_text` is what is left of it"
SHOWN_BYTES = 1_000  # of a message nothing could be taken from
LAST_CHARACTER = "\U0010ffff"
RETRIES = 100  # the newest retries a detail names

TIMES = ("created_at", "updated_at", "queued_at", "due_at", "started_at", "completed_at", "published_at", "archived_at")
JSON_FIELDS = ("attempts", "result")


class RawJob(msgspec.Struct, frozen=True, kw_only=True):
    """A stock arq client's message as it came.

    Attributes:
        text: Its beginning, at most `SHOWN_BYTES`, with everything that is no printable ASCII escaped.
        base64: All of it.
    """

    size_bytes: int
    text: str
    base64: str


class Retry(msgspec.Struct, frozen=True):
    """A task that retries another."""

    task_id: str
    status: str
    place: Place
    created_at: str | None


class IdMatch(msgspec.Struct, frozen=True):
    """A task's id, and what tells it from others whose ids begin alike; `status` is as stored."""

    task_id: str
    place: Place
    status: str
    title: str | None
    created_at: str | None


class TaskDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A task. Times are UTC text; a field its table has no column for is None.

    Attributes:
        status: As stored: whether a worker holds a task that waits here, only Redis knows.
        inherited: A row of an original file's queue, which nobody runs unless it is retried.
        task_data: The client's object, its members as JSON (`msgspec.Raw`); None if it is absent or damaged.
        raw_job: Of a job that a stock arq client enqueued and no task data could be taken from, the message itself.
        task_data_text: The stored text where it is no JSON object, with `note` saying so.
        attempts: As `everpost.task.model.Attempt` writes them.
        attempts_spent: How many of them counted against the platform's `max_attempts`; None once it has ended.
        sending: The attempt that may be at the platform just now; 0 on a task that is held since a restore.
        decisions: What people decided about it, and the decision that made it.
        retries: The tasks whose `retry_of` is this one, newest first, at most `RETRIES`.
    """

    task_id: str
    place: Place
    row: int
    status: str
    inherited: bool = False
    platform: str | None = None
    account_id: str | None = None
    title: str | None = None
    priority: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    queued_at: str | None = None
    due_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    published_at: str | None = None
    error_class: str | None = None
    error_message: str | None = None
    attempts: Sequence[Any] = ()
    attempts_spent: int | None = None
    sending: int | None = None
    result: Any = None
    provider_post_id: str | None = None
    publish_url: str | None = None
    retry_of: str | None = None
    root_id: str | None = None
    generation: int = 0
    batch_id: str | None = None
    decisions: Sequence[Decided] = ()
    retries: Sequence[Retry] = ()
    archived_at: str | None = None
    archive_reason: str | None = None
    task_data: dict[str, Any] | None = None
    raw_job: RawJob | None = None
    task_data_text: str | None = None
    note: str | None = None


class History:
    """Looks tasks up by id. Naive times of inherited rows are read in `timezone`."""

    def __init__(self, database: Database, timezone: tzinfo = UTC) -> None:
        self._database = database
        self._timezone = timezone

    async def find_task(self, task_id: str) -> TaskDetail | None:
        """The task from the ledger, else the history, else the archive."""
        found = await self._database.read(lambda connection: _find(connection, task_id))
        return None if found is None else self._detail(*found)

    async def find_ids(self, prefix: str, limit: int) -> list[IdMatch]:
        """The ids that begin with `prefix`, at most `limit`: one that is the prefix itself first, then the newest."""

        def find(connection: sqlite3.Connection) -> list[Any]:
            with snapshot(connection):
                exact = connection.execute(load("find_ids"), _id_range(prefix, "\0", limit)).fetchall()
                return exact + connection.execute(load("find_ids"), _id_range(prefix, LAST_CHARACTER, limit)).fetchall()

        found: dict[str, IdMatch] = {}
        for task_id, place, status, title, created_at in await self._database.read(find):
            told = IdMatch(task_id, Place(place), status or "", title, utc_text(created_at, self._timezone))
            found.setdefault(task_id, told)  # an original file may have an id in two tables
        return list(found.values())[:limit]

    def _detail(self, row: dict[str, Any], retries: Sequence[Sequence[Any]]) -> TaskDetail:
        fields = row | {name: utc_text(row[name], self._timezone) for name in TIMES if row.get(name)}
        fields |= {name: _json_or_text(row.get(name)) for name in JSON_FIELDS}
        fields |= _read_data(fields.pop("data"))
        fields["raw_job"] = _raw_job(fields.get("raw_job"))
        fields["attempts"] = fields["attempts"] if isinstance(fields["attempts"], list) else []
        fields["inherited"] = bool(fields["inherited"])
        fields["generation"] = fields["generation"] or 0
        fields["retries"] = [
            Retry(task_id, status or "", Place(place), utc_text(created_at, self._timezone))
            for task_id, status, place, created_at in retries
        ]
        return TaskDetail(**fields)


def _id_range(prefix: str, beyond: str, limit: int) -> dict[str, Any]:
    """Texts are compared byte by byte, so what begins with the prefix lies between it and it with `beyond`."""
    return {"first": prefix, "end": prefix + beyond, "limit": limit}


def _find(connection: sqlite3.Connection, task_id: str) -> tuple[dict[str, Any], list[Any]] | None:
    with snapshot(connection):
        for place in Place:
            cursor = connection.execute(load(f"find_task_{place.value}"), {"task_id": task_id})
            row = cursor.fetchone()
            if row is not None:
                found = dict(zip((column[0] for column in cursor.description), row, strict=True))
                retries = connection.execute(load("find_retries"), {"task_id": task_id, "limit": RETRIES}).fetchall()
                decisions = find_decisions(connection, task_id)
                return found | {"place": place, "status": found["status"] or "", "decisions": decisions}, retries
    return None


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
