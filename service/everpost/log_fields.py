"""Fields of a line of the standard library's logging, for code that others use without structlog.

They are two attributes of the record, `event_name` and `event_fields`. A library that knows nothing of Everpost can
write such lines too; the worker's engine does.
"""

import logging
from typing import Any

import msgspec


class LineFields(msgspec.Struct, frozen=True):
    """What a line says beside its text.

    Attributes:
        event: What stands in place of the text where lines are structured; None leaves the text.
    """

    event: str | None
    fields: dict[str, Any]


def as_event(event: str | None = None, /, **fields: Any) -> dict[str, Any]:
    """The `extra` of a line: `logger.warning("job %s expired", one, extra=as_event("job.expired", job_id=one))`."""
    return {"event_name": event, "event_fields": fields}


def fields_of(line: logging.LogRecord) -> LineFields | None:
    """What a line was given with `as_event`; None if it was not."""
    fields = getattr(line, "event_fields", None)
    return LineFields(getattr(line, "event_name", None), fields) if isinstance(fields, dict) else None
