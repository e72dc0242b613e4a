"""Logging: one structured line per state change, as text for people or as JSON for machines."""

import importlib
import logging
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from everpost.known_secrets import CURRENT, HIDDEN, NO_SECRETS, KnownSecrets
from everpost.log_fields import fields_of
from everpost.printable import printable
from everpost.redaction import Redactor
from everpost.settings import Settings


def _import_structlog() -> ModuleType:
    """Import structlog without rich, which it would load for unused tracebacks: 4 MB and 40 ms per worker."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return importlib.import_module("structlog")
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes `import rich` fail
    try:
        return importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]


if TYPE_CHECKING:
    import structlog

    from everpost.error_reports import ErrorReports
else:
    structlog = _import_structlog()


LEVELS = ("debug", "info", "warning", "error")


def configure_logging(settings: Settings, *, at_least: str = "debug", reports: "ErrorReports | None" = None) -> None:
    """Send the lines of structlog and of the standard library to standard error, in one format.

    Args:
        at_least: The lowest level shown, for commands that people read; `debug` in the settings overrides it.
        reports: Gets each line of an error, too.
    """
    redactor = settings.redactor
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([] if reports is None else [partial(report_errors, reports, redactor)]),
        structlog.processors.format_exc_info,
        hide_secrets,
        partial(hide_members, redactor),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
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


def hide_secrets(_logger: object, _method: str, event: "structlog.typing.EventDict") -> "structlog.typing.EventDict":
    """Replace secrets of the account whose attempt writes the line, wherever a publisher or a library put them."""
    secrets = CURRENT.get()
    if secrets is NO_SECRETS:
        return event
    return {name: value if name.startswith("_") else _without(secrets, value) for name, value in event.items()}


def hide_members(
    redactor: Redactor, _logger: object, _method: str, event: "structlog.typing.EventDict"
) -> "structlog.typing.EventDict":
    """Replace fields that have a hidden name, and members of fields; texts lose the secret parameters of addresses."""
    for name, value in event.items():
        if redactor.hides(name):
            event[name] = HIDDEN
        elif type(value) is str:
            if "=" in value:
                event[name] = redactor.hide_text(value)
        elif isinstance(value, Mapping | list | tuple) and not name.startswith("_"):
            event[name] = redactor.hide_in(value)
    return event


def report_errors(
    reports: "ErrorReports", redactor: Redactor, logger: object, method: str, event: "structlog.typing.EventDict"
) -> "structlog.typing.EventDict":
    """Report a line, with what its exception is before that becomes a text."""
    reports.report(
        event, lambda fields: hide_members(redactor, logger, method, dict(hide_secrets(logger, method, fields)))
    )
    return event


def _without(secrets: KnownSecrets, value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str | Mapping | list | tuple):
        return secrets.hide_in(value)
    text = str(value)
    hidden = secrets.hide(text)
    return value if hidden == text else hidden


def take_fields(_logger: object, _method: str, event: "structlog.typing.EventDict") -> "structlog.typing.EventDict":
    """Turn a line of the standard library into an event: the event it names, or `library.said` with its text."""
    given = fields_of(event["_record"])
    if given is None:
        return {**event, "event": OF_A_LIBRARY, "message": event["event"]}
    return {**event, **given.fields, "event": given.event or event["event"]}


OF_A_LIBRARY = "library.said"


def _renderers(*, is_json: bool) -> "list[structlog.typing.Processor]":
    if is_json:
        return [structlog.processors.JSONRenderer()]  # writes ASCII, so every field is escaped and exact
    return [make_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def make_printable(_logger: object, _method: str, event: "structlog.typing.EventDict") -> "structlog.typing.EventDict":
    """Escape unsafe characters in all fields, and indent tracebacks, so that their lines do not look like log lines."""
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
