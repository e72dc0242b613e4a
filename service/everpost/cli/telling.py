"""What `everpost up` reports: sentences for people, or the same as JSON log lines."""

import os
import sys
from pathlib import Path
from typing import Any, Protocol

from everpost.cli.output import say_lines
from everpost.settings import Settings


class Say(Protocol):
    """Reports an event: `text` for people, or the event's name and fields for machines."""

    def __call__(self, event: str, text: str, **fields: Any) -> None:
        """Report it; a closed output is ignored."""


def say_of(settings: Settings) -> Say:
    """The way to report with these settings."""
    if settings.log_format != "json":
        return _say_to_people
    import structlog  # noqa: PLC0415 - output for people needs neither import

    from everpost.logs import configure_logging  # noqa: PLC0415

    configure_logging(settings)
    log = structlog.get_logger("everpost.up")

    def say(event: str, text: str, **fields: Any) -> None:
        log.info(event, message=text, **fields)

    return say


def _say_to_people(event: str, text: str, **fields: Any) -> None:
    """Print to standard output; a closed terminal must not interrupt a stop."""
    del event, fields
    try:
        say_lines(text)
    except OSError:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
