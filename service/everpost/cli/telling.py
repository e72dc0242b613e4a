"""What `everpost up` says while it runs: sentences for people, or the same as log lines where these are JSON."""

import os
import sys
from pathlib import Path
from typing import Any, Protocol

from everpost.cli.output import say_lines
from everpost.settings import Settings


class Say(Protocol):
    """Says something: `text` to people, or the event and its fields to machines."""

    def __call__(self, event: str, text: str, **fields: Any) -> None:
        """Say it, for as long as somebody listens."""


def say_of(settings: Settings) -> Say:
    """How to say things with these settings."""
    if settings.log_format != "json":
        return _say_to_people
    import structlog  # noqa: PLC0415 - what people read needs neither

    from everpost.logs import configure_logging  # noqa: PLC0415

    configure_logging(settings)
    log = structlog.get_logger("everpost.up")

    def say(event: str, text: str, **fields: Any) -> None:
        log.info(event, message=text, **fields)

    return say


def _say_to_people(event: str, text: str, **fields: Any) -> None:
    """On standard output; a closed terminal stops nothing halfway."""
    del event, fields
    try:
        say_lines(text)
    except OSError:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
