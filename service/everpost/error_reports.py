"""Reports logged errors to Sentry (extra `sentry`), if `SENTRY_DSN` is set; otherwise nothing is imported.

A report has the line's event and fields, and the traceback without values of variables. As in the log,
there is no payload and no secret in it.
"""

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from everpost.known_secrets import CURRENT
from everpost.redaction import Redactor
from everpost.release import running_version

DSN = "SENTRY_DSN"
REPORTED = frozenset({"error", "critical"})
MOST_A_MINUTE = 10  # reports of one event; a task that fails a thousand times a second is one problem
FLUSH_S = 2.0
OWN_FIELDS = frozenset({"event", "level", "logger", "timestamp", "exc_info", "stack_info"})

Hide = Callable[[dict[str, Any]], Mapping[str, Any]]
Raised = tuple[type[BaseException], BaseException, TracebackType | None]


def start_error_reports(environment: Mapping[str, str], process: str, redactor: Redactor) -> "ErrorReports | None":
    """The reports of this process; None if `SENTRY_DSN` is not set.

    The SDK reads its other variables itself, such as `SENTRY_ENVIRONMENT`.
    """
    if not environment.get(DSN, "").strip():
        return None
    try:
        import sentry_sdk  # noqa: PLC0415 - loaded only if errors are reported
    except ModuleNotFoundError:
        import structlog  # noqa: PLC0415 - `logs.py` must import it first

        log = structlog.get_logger("everpost.reports")
        log.warning("reports.not_installed", advice="pip install 'everpost[sentry]'")
        return None
    return ErrorReports(sentry_sdk, process, redactor)


class ErrorReports:
    """Sends log lines of errors to Sentry.

    Args:
        sdk: The module `sentry_sdk`.
        process: `api` or `worker`, as a tag of each report.
    """

    def __init__(self, sdk: Any, process: str, redactor: Redactor) -> None:
        from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415 - as above
        from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415 - as above
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration  # noqa: PLC0415 - as above
        from sentry_sdk.integrations.threading import ThreadingIntegration  # noqa: PLC0415 - as above

        self._sdk = sdk
        self._redactor = redactor
        self._counts: dict[str, tuple[int, int]] = {}
        sdk.init(
            release=f"everpost@{running_version()}",
            default_integrations=False,  # those of frameworks send requests, and every refusal as an error
            auto_enabling_integrations=False,
            integrations=[
                AtexitIntegration(_say_nothing),
                DedupeIntegration(),
                ExcepthookIntegration(),
                ThreadingIntegration(),
            ],
            include_local_variables=False,
            send_default_pii=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            before_send=self._without_secrets,
        )
        sdk.set_tag("process", process)

    def report(self, line: Mapping[str, Any], hide: Hide) -> None:
        """Report a line that is about to be logged; `hide` leaves secrets out of its fields."""
        name = str(line["event"])
        if line.get("level") not in REPORTED or not self._has_room(name):
            return
        fields = hide({field: value for field, value in line.items() if field not in OWN_FIELDS and field[0] != "_"})
        told: dict[str, Any] = {
            "message": name,
            "level": line["level"] if line["level"] == "error" else "fatal",
            "logger": str(line.get("logger", "")),
            "fingerprint": ["{{ default }}", name],
            "extra": {field: str(value)[:2_000] for field, value in fields.items()},
            "tags": {field: str(fields[field]) for field in ("platform", "duty", "code") if field in fields},
        }
        raised = raised_in(line.get("exc_info"))
        hint: dict[str, Any] = {}
        if raised is not None:
            shown, hint = self._sdk.utils.event_from_exception(raised, client_options=self._sdk.get_client().options)
            told["exception"] = shown["exception"]
        self._sdk.capture_event(told, hint)

    def close(self) -> None:
        """Send what is left, for some seconds at most."""
        self._sdk.flush(FLUSH_S)

    def _has_room(self, name: str) -> bool:
        minute = int(time.monotonic() // 60)
        before, count = self._counts.get(name, (minute, 0))
        count = count + 1 if before == minute else 1
        self._counts[name] = (minute, count)
        return count <= MOST_A_MINUTE

    def _without_secrets(self, event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
        """Leave secrets out of exceptions' texts, also of those that ended a process."""
        del hint
        secrets = CURRENT.get()
        for raised in event.get("exception", {}).get("values", ()):
            raised["value"] = secrets.hide(self._redactor.hide_text(str(raised.get("value") or "")))
        for unwanted in ("server_name", "modules", "request", "user"):
            event.pop(unwanted, None)
        return event


def _say_nothing(pending: int, timeout_s: float) -> None:
    """Print nothing while the last reports are sent."""


def raised_in(given: object) -> Raised | None:
    """The exception of a line's `exc_info`, which may be an exception, a tuple, or True for the one that is handled."""
    if given is True:
        given = sys.exc_info()
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if isinstance(given, tuple) and isinstance(given[1], BaseException):
        return type(given[1]), given[1], given[2]
    return None
