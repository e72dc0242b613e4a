"""A task's data in a store: whole, or rebuilt from the single columns."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from everpost.task.candidate import StoredData
from everpost.task.model import DEFAULT_PRIORITY, PRIORITIES
from everpost.task.place import Place

NUMBER_DIGITS = 18  # digits that every JSON reader accepts as an integer
COLUMNS = (
    "platform", "account_id", "material_id", "title", "tags", "cover", "schedule_time", "publish_mode",
)  # fmt: skip

Decoded = TypeVar("Decoded")


class AnyObject(msgspec.Struct):
    """A JSON object of which no member is built."""


def data_of_row(place: Place, row: Sequence[Any]) -> StoredData | None:
    """The data of a row: its task data and priority, the columns `COLUMNS`, and its raw job."""
    task_data, priority, *columns, raw_job = row
    is_rebuilt = False
    if raw_job is not None:
        task_data = b""
    elif not is_object(task_data):
        rebuilt = rebuild_data(dict(zip(COLUMNS, columns, strict=True)))
        if rebuilt is None:
            return None
        task_data, is_rebuilt = msgspec.json.encode(rebuilt), True
    return StoredData(
        place=place,
        task_data=task_data,
        priority=priority if priority in PRIORITIES else DEFAULT_PRIORITY,
        is_rebuilt=is_rebuilt,
        raw_job=raw_job,
    )


def is_object(task_data: bytes | None) -> bool:
    """Whether the bytes are a JSON object."""
    return _decode(task_data, AnyObject) is not None


def read_members(task_data: bytes | None) -> dict[str, msgspec.Raw] | None:
    """The members of a JSON object, their values as JSON; None if the text is not a JSON object.

    The values are not built: that takes 200 ms for a megabyte of `[[],[],...]`, and the process does nothing else then.
    """
    return _decode(task_data, dict[str, msgspec.Raw])


def _decode(task_data: bytes | None, kind: type[Decoded]) -> Decoded | None:
    """The value, as far as `kind` builds it; None if the text is not of that kind."""
    if not task_data:
        return None
    try:
        task_data.decode()  # msgspec does not check values for UTF-8 that it does not build
        return msgspec.json.decode(task_data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def rebuild_data(columns: dict[str, Any]) -> dict[str, Any] | None:
    """The task's data from its single columns; None without a platform. `description` never had a column."""
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
    """The number, if its text is exactly what the column holds (`007` is a name); else the value."""
    is_number = isinstance(value, str) and len(value) <= NUMBER_DIGITS and value.isascii() and value.isdecimal()
    return int(value) if is_number and str(int(value)) == value else value


def _tags(text: str | None) -> list[Any]:
    try:
        tags = msgspec.json.decode(text or "[]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [tag.strip() for tag in str(text).split(",") if tag.strip()]
    return tags if isinstance(tags, list) else [tags]
