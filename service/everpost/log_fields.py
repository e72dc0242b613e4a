"""Fields of a line of the standard library's logging, for code that others use without structlog."""

import logging
from typing import Any

_ATTRIBUTE = "everpost"


class LineFields:
    """What a line says beside its text.

    Attributes:
        event: What stands in place of the text where lines are structured; None leaves the text.
    """

    def __init__(self, event: str | None, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields


def as_event(event: str | None = None, /, **fields: Any) -> dict[str, LineFields]:
    """The `extra` of a line: `logger.warning("job %s expired", one, extra=as_event("job.expired", job_id=one))`."""
    return {_ATTRIBUTE: LineFields(event, fields)}


def fields_of(line: logging.LogRecord) -> LineFields | None:
    """What a line was given with `as_event`; None if it was not."""
    found = getattr(line, _ATTRIBUTE, None)
    return found if isinstance(found, LineFields) else None
