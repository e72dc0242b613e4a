"""A task's data as each table still has it: whole, or rebuilt from the single columns."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.model import DEFAULT_PRIORITY, PRIORITIES
from everpost.task.place import Place

REBUILT = "Task data rebuilt from individual fields (may be incomplete)"
NUMBER_DIGITS = 18  # what every JSON reader takes for an integer
COLUMNS = (
    "platform", "account_id", "material_id", "title", "tags", "cover", "schedule_time", "publish_mode",
)  # fmt: skip
_STATEMENTS = {
    Place.LEDGER: "find_payloads_ledger",
    Place.HISTORY: "find_payloads_history",
    Place.ARCHIVE: "find_payloads_archive",
}


class StoredPayload(msgspec.Struct, frozen=True, kw_only=True):
    """A task's data out of SQLite.

    Attributes:
        warning: Set when the data was rebuilt because the whole was absent or damaged.
        raw_job: A stock arq client's message that no data could be taken from; `task_data` is empty then.
    """

    task_data: bytes
    priority: int
    status: str
    warning: str | None = None
    raw_job: bytes | None = None


class Payloads:
    """Finds a task's data in one of the tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, place: Place, task_id: str) -> StoredPayload | None:
        """What that table has of the task."""
        found = await self._database.read(lambda connection: find_payloads(connection, place, [task_id]))
        return found.get(task_id)


def find_payloads(connection: sqlite3.Connection, place: Place, task_ids: Collection[str]) -> dict[str, StoredPayload]:
    """What a table has of tasks; those are left out of which neither the data nor the columns say where to publish."""
    rows = connection.execute(load(_STATEMENTS[place]), {"task_ids": json_list(task_ids)})
    payloads = {task_id: _payload_of_row(row) for task_id, *row in rows}
    return {task_id: payload for task_id, payload in payloads.items() if payload is not None}


def _payload_of_row(row: Sequence[Any]) -> StoredPayload | None:
    task_data, priority, *columns, status, raw_job = row
    warning = None
    if raw_job is not None:
        task_data = b""
    elif not is_object(task_data):
        rebuilt = rebuild_data(dict(zip(COLUMNS, columns, strict=True)))
        if rebuilt is None:
            return None
        task_data, warning = msgspec.json.encode(rebuilt), REBUILT
    return StoredPayload(
        task_data=task_data,
        priority=priority if priority in PRIORITIES else DEFAULT_PRIORITY,
        status=status or "",
        warning=warning,
        raw_job=raw_job,
    )


def is_object(task_data: bytes | None) -> bool:
    """Whether the bytes are a JSON object."""
    return read_members(task_data) is not None


def read_members(task_data: bytes | None) -> dict[str, msgspec.Raw] | None:
    """The members of a JSON object, their values as JSON; None if it is none.

    To build the values of a megabyte of `[[],[],...]` takes 200 ms, in which the process does nothing else.
    """
    if not task_data:
        return None
    try:
        task_data.decode()  # a value that is not built is not checked to be UTF-8 either
        return msgspec.json.decode(task_data, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def rebuild_data(columns: dict[str, Any]) -> dict[str, Any] | None:
    """The task the single columns tell of, as far as they do; `description` never had one."""
    if not columns["platform"]:
        return None
    platform = str(columns["platform"])
    data = {
        "platform": int(platform) if platform.isdecimal() and len(platform) <= NUMBER_DIGITS else platform,
        "account_id": columns["account_id"],
        "file_id": _number_or_text(columns["material_id"]),
        "title": columns["title"] or "",
        "description": "",
        "tags": _tags(columns["tags"]),
    }
    kept = {name: columns[name] for name in ("cover", "schedule_time", "publish_mode") if columns[name]}
    return data | kept


def _number_or_text(value: Any) -> Any:
    """A number only where its text is what the column holds: `007` is a name."""
    is_number = isinstance(value, str) and len(value) <= NUMBER_DIGITS and value.isascii() and value.isdecimal()
    return int(value) if is_number and str(int(value)) == value else value


def _tags(text: str | None) -> list[Any]:
    try:
        tags = msgspec.json.decode(text or "[]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [tag.strip() for tag in str(text).split(",") if tag.strip()]
    return tags if isinstance(tags, list) else [tags]
