"""A task's data as each table still has it: whole, or rebuilt from the single columns."""

from collections.abc import Sequence
from typing import Any

import msgspec

from service.store.database import Database
from service.store.queries import load
from service.task import DEFAULT_PRIORITY, PRIORITIES

REBUILT = "Task data rebuilt from individual fields (may be incomplete)"
NUMBER_DIGITS = 18  # what every JSON reader takes for an integer
COLUMNS = (
    "platform", "account_id", "material_id", "title", "tags", "cover", "schedule_time", "publish_mode",
)  # fmt: skip


class StoredPayload(msgspec.Struct, frozen=True, kw_only=True):
    """A task's data out of SQLite.

    Attributes:
        warning: Set when the data was rebuilt because the whole was absent or damaged.
    """

    task_data: bytes
    priority: int
    status: str
    warning: str | None = None


class Payloads:
    """Finds a task's data in one of the tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_in_history(self, task_id: str) -> StoredPayload | None:
        """From `publish_tasks`."""
        return await self._find("find_payload_history", task_id)

    async def find_in_ledger(self, task_id: str) -> StoredPayload | None:
        """From `task_queue`."""
        return await self._find("find_payload_ledger", task_id)

    async def find_in_archive(self, task_id: str) -> StoredPayload | None:
        """From `publish_tasks_archive`."""
        return await self._find("find_payload_archive", task_id)

    async def _find(self, statement: str, task_id: str) -> StoredPayload | None:
        row = await self._database.read(
            lambda connection: connection.execute(load(statement), {"task_id": task_id}).fetchone()
        )
        return None if row is None else payload_of_row(row)


def payload_of_row(row: Sequence[Any]) -> StoredPayload | None:
    """The payload in a row of `find_payload_*.sql`; None if neither the data nor the columns say where to publish."""
    task_data, priority, *columns, status = row
    warning = None
    if not is_object(task_data):
        rebuilt = rebuild_data(dict(zip(COLUMNS, columns, strict=True)))
        if rebuilt is None:
            return None
        task_data, warning = msgspec.json.encode(rebuilt), REBUILT
    return StoredPayload(
        task_data=task_data,
        priority=priority if priority in PRIORITIES else DEFAULT_PRIORITY,
        status=status or "",
        warning=warning,
    )


def is_object(task_data: bytes | None) -> bool:
    """Whether the bytes are a JSON object."""
    if not task_data:
        return False
    try:
        return isinstance(msgspec.json.decode(task_data), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


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
