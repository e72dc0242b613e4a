"""The spans of a process: of requests, of attempts, and of calls of publishers. This module loads OpenTelemetry."""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from everpost.release import running_version

log = structlog.get_logger("everpost.tracing")

ASGI = Callable[[Any, Any, Any], Awaitable[None]]
Message = MutableMapping[str, Any]

UNTRACED = frozenset({"/health/live", "/health/ready", "/metrics"})
LONGEST_STATE = 512  # characters of a tracestate (https://www.w3.org/TR/trace-context/#tracestate-limits)
FLUSH_S = 3.0
SERVER_ERROR = 500
HTTP_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
GRPC_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"

_w3c = TraceContextTextMapPropagator()


class Outcome:
    """How an attempt ended, for its span. `error` is None if the attempt did not fail."""

    __slots__ = ("error", "message", "word")

    def __init__(self, word: str, error: str | None = None, message: str | None = None) -> None:
        self.word, self.error, self.message = word, error, message


class Tracing:
    """Makes spans, and carries their contexts as text: a `traceparent`, and behind a space its `tracestate`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("everpost", running_version())

    @classmethod
    def start(cls, service: str, environment: Mapping[str, str]) -> Self:
        """Export spans as the environment says; publishers that use OpenTelemetry find the same provider.

        Raises:
            ValueError, ImportError: There is no such exporter.
        """
        named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        own = {SERVICE_VERSION: running_version()} | ({} if named else {SERVICE_NAME: service})
        provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        for exporter in _exporters(environment):
            provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        log.info("traces.on", service=str(provider.resource.attributes.get(SERVICE_NAME)))
        return cls(provider)

    async def close(self) -> None:
        """Export what is left, for a few seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await asyncio.to_thread(self._provider.shutdown)

    def current(self) -> str | None:
        """The context of the span that is running here; None outside of a span."""
        return _text_of(_headers())

    def headers(self) -> dict[str, str]:
        """The headers that carry the running span's context to a receiver."""
        return _headers()

    def serve(self, app: ASGI) -> ASGI:
        """The application, with a span for each request; a request's `traceparent` is its parent."""

        async def traced(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["path"] in UNTRACED:
                await app(scope, receive, send)
                return
            method = str(scope["method"])
            attributes = {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope["scheme"]}
            with self._span(method, SpanKind.SERVER, _context_of(_carrier(scope["headers"])), attributes) as span:
                await app(scope, receive, _noting(send, span))
                if template := scope.get("path_template"):
                    span.update_name(f"{method} {template}")
                    span.set_attribute("http.route", template)

        return traced

    @contextmanager
    def attempt(
        self,
        name: str,
        context: str | None,
        origin: str | None,
        attributes: Mapping[str, Any],
        *,
        queued_ms: int | None,
        outcome_of: Callable[[BaseException], Outcome],
    ) -> Iterator[Span]:
        """The span of an attempt at a task, behind one of the time that the task was queued.

        Args:
            context: That of the span that made the task; the attempt belongs to its trace.
            origin: Of a retry: that of the task that it retries; the span links to it.
            queued_ms: When the task was queued, if that is to be shown.
            outcome_of: Says how an attempt ended that raised this.
        """
        parent = _context_of(_carrier_of(context))
        if queued_ms is not None and context is not None:
            waiting = self._tracer.start_span("queued", parent, attributes=attributes, start_time=queued_ms * 1_000_000)
            waiting.end(max(time.time_ns(), queued_ms * 1_000_000))
        with self._span(name, SpanKind.CONSUMER, parent, attributes, _links_to(origin)) as span:
            try:
                yield span
            except BaseException as error:
                outcome = outcome_of(error)
                span.set_attribute("everpost.outcome", outcome.word)
                if outcome.error is not None:
                    span.set_attribute("error.type", outcome.error)
                    span.set_status(Status(StatusCode.ERROR, outcome.message))
                raise
            span.set_attribute("everpost.outcome", "success")

    @contextmanager
    def call(self, name: str, attributes: Mapping[str, Any]) -> Iterator[Span]:
        """The span of a call to a platform."""
        with self._span(name, SpanKind.CLIENT, None, attributes) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def link_to(self, origin: str | None) -> None:
        """Link the running span to another one, by its context."""
        for link in _links_to(origin):
            trace.get_current_span().add_link(link.context)

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        parent: Context | None,
        attributes: Mapping[str, Any],
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """A running span. An exception's text is not in it: it may hold a secret."""
        with self._tracer.start_as_current_span(
            name, parent, kind, attributes, links, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span


def _exporters(environment: Mapping[str, str]) -> Iterator[SpanExporter]:
    for name in (environment.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        if name.strip() == "console":
            yield ConsoleSpanExporter()
        elif name.strip() == "otlp":
            protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
                "OTEL_EXPORTER_OTLP_PROTOCOL"
            )
            module = importlib.import_module(GRPC_EXPORTER if protocol == "grpc" else HTTP_EXPORTER)
            yield module.OTLPSpanExporter()
        else:
            raise ValueError(f"OTEL_TRACES_EXPORTER={name}: only otlp, console and none are known.")


def _noting(send: Any, span: Span) -> Any:
    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = int(message["status"])
            span.set_attribute("http.response.status_code", status)
            if status >= SERVER_ERROR:
                span.set_attribute("error.type", str(status))
                span.set_status(Status(StatusCode.ERROR))
        await send(message)

    return note


def _carrier(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """A request's context; several `tracestate` headers all count, several `traceparent` headers are ignored."""
    parents = [value for name, value in headers if name == b"traceparent"]
    states = [value for name, value in headers if name == b"tracestate"]
    if len(parents) != 1:
        return {}
    state = b",".join(states).decode("latin-1")
    carrier = {"traceparent": parents[0].decode("latin-1")}
    return carrier | ({"tracestate": state} if 0 < len(state) <= LONGEST_STATE else {})


def _carrier_of(text: str | None) -> dict[str, str]:
    parent, _, state = (text or "").partition(" ")
    return ({"traceparent": parent} if parent else {}) | ({"tracestate": state} if state else {})


def _context_of(carrier: Mapping[str, str]) -> Context:
    """A context of its own: without a parent there, the span begins a trace."""
    return _w3c.extract(carrier, Context())


def _headers() -> dict[str, str]:
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier


def _text_of(carrier: Mapping[str, str]) -> str | None:
    parent = carrier.get("traceparent")
    if parent is None:
        return None
    state = carrier.get("tracestate", "")
    return f"{parent} {state}" if 0 < len(state) <= LONGEST_STATE else parent


def _links_to(origin: str | None) -> list[Link]:
    context = trace.get_current_span(_context_of(_carrier_of(origin))).get_span_context()
    return [Link(context)] if context.is_valid else []
