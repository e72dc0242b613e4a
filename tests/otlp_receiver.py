"""A server that receives spans by OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/), and decodes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from cli_support import until
from http_receiver import Received, Reply, receiving

PROTOBUF = "application/x-protobuf"


class ReceivedSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A span as it came. Ids are hex digits; `links` are pairs of trace id and span id."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    links: list[tuple[str, str]]
    attributes: dict[str, Any]
    status: int
    status_message: str
    took_ns: int


class OtlpReceiver:
    """Keeps what it receives.

    Attributes:
        address: For `OTEL_EXPORTER_OTLP_ENDPOINT`.
        bodies: Every request's body.
    """

    address = ""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.bodies: list[bytes] = []

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            self.spans += [_received(service, span) for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str, times: int = 1) -> list[ReceivedSpan]:
        until(lambda: len(self.named(name)) >= times, f"{times} spans {name!r} among {[s.name for s in self.spans]}")
        return self.named(name)


@contextmanager
def receiving_spans() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()

    def take(request: Received) -> Reply:
        assert request.path == "/v1/traces"
        assert request.headers["content-type"] == PROTOBUF
        receiver.take(request.body)
        return Reply(ExportTraceServiceResponse().SerializeToString(), content_type=PROTOBUF)

    with receiving(take) as port:
        receiver.address = f"http://127.0.0.1:{port}"
        yield receiver


def _received(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        attributes=_plain(span.attributes),
        status=span.status.code,
        status_message=span.status.message,
        took_ns=span.end_time_unix_nano - span.start_time_unix_nano,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
