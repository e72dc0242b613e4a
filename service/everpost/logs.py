"""Logging: one structured line a state change, for people on a console or as JSON for machines."""

import importlib
import logging
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import ModuleType
from typing import TYPE_CHECKING

from everpost.log_fields import fields_of
from everpost.printable import printable
from everpost.settings import Settings


def _import_structlog() -> ModuleType:
    """Structlog without rich, which it would bring for tracebacks that are never drawn: 4 MB and 40 ms a worker."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return importlib.import_module("structlog")
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes an import of it fail
    try:
        return importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]


if TYPE_CHECKING:
    import structlog
else:
    structlog = _import_structlog()


LEVELS = ("debug", "info", "warning", "error")


def configure_logging(settings: Settings, *, at_least: str = "debug") -> None:
    """Send structlog's and the standard library's lines to standard error, in one form.

    Args:
        at_least: A higher level than the settings', for commands that people read; `debug` in the settings wins.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(is_json=settings.log_format == "json"),
            ],
            foreign_pre_chain=[take_fields, *shared],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("everpost", "uvicorn.error"):
        logging.getLogger(name).setLevel(_level(settings.log_level, at_least).upper())


def _level(wanted: str, at_least: str) -> str:
    return wanted if wanted == "debug" else max(wanted, at_least, key=LEVELS.index)


def take_fields(_logger: object, _method: str, event: "structlog.typing.EventDict") -> "structlog.typing.EventDict":
    """Make an event of a line of the standard library's: its own, or the one that says what another library said."""
    given = fields_of(event["_record"])
    if given is None:
        return {**event, "event": OF_A_LIBRARY, "message": event["event"]}
    return {**event, **given.fields, "event": given.event or event["event"]}


OF_A_LIBRARY = "library.said"


def _renderers(*, is_json: bool) -> "list[structlog.typing.Processor]":
    if is_json:
        return [structlog.processors.JSONRenderer()]  # JSON in ASCII: whatever a field holds is escaped, and exact
    return [make_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def make_printable(_logger: object, _method: str, event: "structlog.typing.EventDict") -> "structlog.typing.EventDict":
    """Escape what others wrote in any field; the lines of a traceback are indented, so that none looks like a log's."""
    told = {name: _printable_value(value) for name, value in event.items() if name not in TRACES}
    traces = {name: _indented(str(event[name])) for name in TRACES if event.get(name)}
    return told | traces


TRACES = ("exception", "stack")


def _printable_value(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_printable_value(name): _printable_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [_printable_value(inner) for inner in value]
    return value if value is None or isinstance(value, int | float) else printable(str(value))


def _indented(trace: str) -> str:
    return "\n".join(f"  {printable(line)}" for line in trace.split("\n"))
