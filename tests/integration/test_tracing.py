"""One trace from the client through API, queue, worker and publisher to the callback; real processes, real OTLP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from redis import Redis

from cli_support import Up, serving, until
from everpost.cli.uplock import find_up
from everpost.clock import system_clock, to_text
from everpost.tracing import is_wanted, start_tracing
from http_receiver import Received, Reply, receiving
from otlp_receiver import OtlpReceiver, ReceivedSpan, receiving_spans

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
HOSTILE = "raw-token-value-9"
SERVER, CLIENT, CONSUMER, INTERNAL = 2, 3, 5, 1


class Platform:
    """A receiver of posts and callbacks; it keeps their headers, and refuses posts whose title says so."""

    url = ""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str]]] = []

    def headers_of(self, path: str, number: int = 0) -> dict[str, str]:
        def found() -> list[dict[str, str]]:
            return [headers for at, headers in self.received if at == path][number:]

        return until(found, f"request {number} of {path}")[0]


@contextmanager
def platform() -> Iterator[Platform]:
    served = Platform()

    def answer(request: Received) -> Reply:
        body = json.loads(request.body)
        served.received.append((request.path, dict(request.headers)))
        refused = "refuse" in str(body.get("title", "")) or "refuse" in str(body)
        told = json.dumps({"error": f"refused {HOSTILE}"}).encode()
        return Reply(told, status=422 if refused and request.path == "/post" else 200)

    with receiving(answer) as port:
        served.url = f"http://127.0.0.1:{port}"
        yield served


@pytest.fixture(scope="module")
def spans() -> Iterator[OtlpReceiver]:
    with receiving_spans() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def receiver() -> Iterator[Platform]:
    with platform() as served:
        yield served


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, spans: OtlpReceiver, receiver: Platform) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("traced")
    text = f"""
[platforms.hooked]
id = 66
publisher = "webhook"
options = {{ url = "{receiver.url}/post", allow_http = true, allow_private = true }}
[platforms.callback]
options = {{ allow_http = true, allow_private = true }}
"""
    (folder / "platforms.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", spans.address)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with serving(folder, PLATFORMS=str(folder / "platforms.toml"), CALLBACK_SECRET=SECRET) as up:
            yield up


def post(up: Up, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    answer = httpx.post(up.url + path, json=body, headers=headers)
    assert answer.is_success, answer.text
    said: dict[str, Any] = answer.json()
    return said


def test_one_trace_goes_from_the_client_to_the_callback(up: Up, spans: OtlpReceiver, receiver: Platform) -> None:
    task = {"platform": "hooked", "account_id": "a", "title": "t", "access_token": HOSTILE}
    task["callback_url"] = f"{receiver.url}/told"
    said = post(up, "/api/v1/publish", task, traceparent=TRACEPARENT, tracestate="vendor=one")
    request = span_in(spans, "POST /api/v1/publish")
    assert (request.trace_id, request.parent_id, request.kind) == (TRACE_ID, PARENT_ID, SERVER)
    assert (request.service, request.state) == ("everpost-api", "vendor=one")
    assert request.attributes["http.response.status_code"] == 202
    attempt, call = span_in(spans, "process hooked"), span_in(spans, "publish hooked")
    queued = next(span for span in spans.named("queued") if span.trace_id == TRACE_ID)  # the callback's follows
    assert {span.trace_id for span in (queued, attempt, call)} == {TRACE_ID}
    assert {span.service for span in (queued, attempt, call)} == {"everpost-worker"}
    assert (queued.parent_id, attempt.parent_id, call.parent_id) == (request.span_id, request.span_id, attempt.span_id)
    assert (queued.kind, attempt.kind, call.kind) == (INTERNAL, CONSUMER, CLIENT)
    assert attempt.attributes["messaging.message.id"] == said["task_id"]
    assert attempt.attributes["everpost.outcome"] == "success"
    sent = receiver.headers_of("/post")
    assert (sent["traceparent"], sent["tracestate"]) == (f"00-{TRACE_ID}-{call.span_id}-01", "vendor=one")
    told = span_in(spans, "process callback")
    assert (told.trace_id, told.parent_id) == (TRACE_ID, request.span_id)
    calling = span_in(spans, "publish callback")
    assert receiver.headers_of("/told")["traceparent"] == f"00-{TRACE_ID}-{calling.span_id}-01"


def test_a_retry_has_the_trace_of_its_request_and_links_to_the_original(up: Up, spans: OtlpReceiver) -> None:
    begun = len(spans.named("POST /api/v1/publish"))
    task = {"platform": "hooked", "account_id": "a", "title": "refuse", "access_token": HOSTILE}
    task_id = post(up, "/api/v1/publish", task)["task_id"]
    assert up.wait_until_ended(task_id)["status"] == "failed"
    original = spans.wait_for("POST /api/v1/publish", begun + 1)[-1]
    failed = span_in(spans, "process hooked", original.trace_id)
    ended = (failed.status, failed.attributes["error.type"], failed.attributes["everpost.outcome"])
    assert ended == (2, "invalid", "failed")
    retried = post(up, f"/api/v1/tasks/retry/{task_id}", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    up.wait_until_ended(retried["new_task_id"])
    again = span_in(spans, "process hooked", "a" * 32)
    assert again.links == [(original.trace_id, original.span_id)]
    assert not any(HOSTILE.encode() in body for body in spans.bodies)


def test_a_task_keeps_its_trace_when_redis_loses_it(up: Up, spans: OtlpReceiver) -> None:
    due = to_text(system_clock() + 1_500)
    task = {"platform": "hooked", "account_id": "a", "schedule_time": due}
    task_id = post(up, "/api/v1/publish", task, traceparent=f"00-{'c' * 32}-{'d' * 16}-01")["task_id"]
    running = find_up(up.folder / "data")
    assert running is not None
    assert running.redis is not None
    Redis.from_url(running.redis).flushall()
    assert up.wait_until_ended(task_id)["status"] == "success"
    assert span_in(spans, "process hooked", "c" * 32).attributes["messaging.message.id"] == task_id


def span_in(spans: OtlpReceiver, name: str, trace_id: str = TRACE_ID) -> ReceivedSpan:
    """The only span of this name in a trace."""

    def found() -> list[ReceivedSpan]:
        return [span for span in spans.named(name) if span.trace_id == trace_id]

    (span,) = until(found, f"a span {name!r} in the trace {trace_id}")
    return span


def test_health_checks_have_no_spans(up: Up, spans: OtlpReceiver) -> None:
    for path in ("/health/live", "/metrics", "/api/v1/tasks/stats"):
        assert httpx.get(up.url + path).is_success
    spans.wait_for("GET /api/v1/tasks/stats")
    assert not [span for span in spans.spans if span.attributes.get("url.path") in {"/health/live", "/metrics"}]


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
    ],
)
def test_the_standard_variables_turn_traces_on(environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environment) is wanted


def test_an_unknown_exporter_turns_traces_off_and_says_so() -> None:
    assert start_tracing({"OTEL_TRACES_EXPORTER": "zipkin"}, "everpost-api") is None


@pytest.mark.parametrize("module", ["everpost.app", "everpost_workers.main"])
def test_nothing_of_opentelemetry_is_imported_while_traces_are_off(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
