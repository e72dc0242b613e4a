"""A page of a list: where it begins, and the cursor of the next. A row ends with its key, `created_at` and id."""

from collections.abc import Sequence
from typing import Any

from everpost.clock import to_text
from everpost.errors import InvalidValue
from everpost.store.history import MAX_LIMIT
from everpost.store.lists.cursor import BEGINNING, Key, read_cursor, write_cursor


def beginning(cursor: str | None, limit: int, most: int = MAX_LIMIT) -> Key:
    """Where the page after `cursor` begins.

    Raises:
        InvalidValue: `cursor` is not a cursor, or `limit` is not in 1 to `most`.
    """
    if not 1 <= limit <= most:
        raise InvalidValue(f"limit is 1 to {most}.", "$.limit")
    return BEGINNING if cursor is None else read_cursor(cursor)


def due_bounds(from_ms: int, until_ms: int, after: str | None, limit: int) -> dict[str, str]:
    """The times between which tasks are due, and the key behind which they come.

    Raises:
        InvalidValue: See `beginning`.
    """
    key = beginning(after, limit)
    at, task_id = ("", "") if after is None or not isinstance(key.created_at, str) else (key.created_at, key.task_id)
    return {"from": to_text(from_ms), "until": to_text(until_ms), "at": at, "id": task_id}


def following(rows: Sequence[Any], limit: int) -> str | None:
    """The cursor of the page after the first `limit` of these rows; None if there are no more rows."""
    return write_cursor(Key(*rows[limit - 1][-2:])) if len(rows) > limit else None


def without_doubles(rows: list[Any]) -> list[Any]:
    """An original file may have one id twice, in two tables or one. It is one task."""
    return [row for number, row in enumerate(rows) if not number or row[-2:] != rows[number - 1][-2:]]
