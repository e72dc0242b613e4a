"""Traces by OpenTelemetry (extra `otel`): on if the standard variables name an exporter; else nothing is imported."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from everpost.tracing.spans import Tracing

log = structlog.get_logger("everpost.tracing")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"
NONE = "none"
DISABLED = "OTEL_SDK_DISABLED"


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment names an exporter of traces.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if environment.get(DISABLED, "").strip().lower() == "true":
        return False
    exporter = environment.get(EXPORTER, "").strip()
    return exporter != NONE and bool(exporter or any(environment.get(name) for name in ENDPOINTS))


def start_tracing(environment: Mapping[str, str], service: str) -> "Tracing | None":
    """The traces of this process; None if the environment names no exporter.

    The SDK reads its other variables from the process's environment itself.

    Args:
        service: The service's name, unless `OTEL_SERVICE_NAME` says another.
    """
    if not is_wanted(environment):
        return None
    try:
        from everpost.tracing.spans import Tracing  # noqa: PLC0415 - loaded only if traces are on
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        log.warning("traces.not_installed", lacks=error.name, advice="pip install 'everpost[otel]'")
        return None
    try:
        return Tracing.start(service, environment)
    except (ValueError, ImportError) as error:
        log.warning("traces.off", error=str(error))
        return None
