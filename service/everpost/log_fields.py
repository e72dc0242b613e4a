"""Structured fields in lines of the standard library's logging, for code that must not depend on structlog.

The fields are two attributes of the record, `event_name` and `event_fields`. A library can set them without knowing
Everpost, as the worker's engine does.
"""

import logging
from typing import Any

import msgspec


class LineFields(msgspec.Struct, frozen=True):
    """The structured part of a line.

    Attributes:
        event: Replaces the text in structured logs; None keeps the text.
    """

    event: str | None
    fields: dict[str, Any]


def as_event(event: str | None = None, /, **fields: Any) -> dict[str, Any]:
    """The `extra` of a line: `logger.warning("job %s expired", one, extra=as_event("job.expired", job_id=one))`."""
    return {"event_name": event, "event_fields": fields}


def fields_of(line: logging.LogRecord) -> LineFields | None:
    """The fields that `as_event` gave to a line; None if it has no fields."""
    fields = getattr(line, "event_fields", None)
    return LineFields(getattr(line, "event_name", None), fields) if isinstance(fields, dict) else None
