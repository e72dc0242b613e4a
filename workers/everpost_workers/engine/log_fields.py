"""Fields of a log line, for handlers that write structured lines."""

from typing import Any


def as_event(event: str, /, **fields: Any) -> dict[str, Any]:
    """The `extra` of a line: it makes `event_name` and `event_fields` attributes of the record."""
    return {"event_name": event, "event_fields": fields}
