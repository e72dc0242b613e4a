"""Errors reach Sentry, as its own protocol carries them, and nothing secret goes with them."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from everpost.error_reports import MOST_A_MINUTE, start_error_reports
from everpost.redaction import USUALLY
from http_receiver import Received, Reply, receiving

SECRET = "raw-value-of-a-token"

PROGRAM = f"""
import asyncio, logging, os
from everpost.error_reports import start_error_reports
from everpost.logs import configure_logging
from everpost.settings import Settings
settings = Settings()
reports = start_error_reports(os.environ, "worker", settings.redactor)
configure_logging(settings, reports=reports)
from everpost.testing import everpost_stack
import structlog

def broken(job):
    local_secret = job.data["access_token"]
    return ValueError(f"cannot use {{local_secret}} at https://h.example/?token=abc123")

async def main():
    async with everpost_stack() as stack:
        stack.publisher.fail_when(broken)
        task_id = await stack.publish(platform="douyin", access_token="{SECRET}", title="unique-title")
        print(await stack.wait_until_ended(task_id))
        try:
            raise RuntimeError("see https://h.example/?api_key=abc123")
        except RuntimeError:
            structlog.get_logger("everpost.api").exception("request.crashed", path="/p", password="{SECRET}")
        structlog.get_logger("everpost.api").warning("request.refused", code="x")
        logging.getLogger("everpost.worker").error("a line of the standard library")
        for number in range(50):
            structlog.get_logger("everpost.api").error("loop.failed", number=number)

asyncio.run(main())
reports.close()
"""


class Ingest:
    dsn = ""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.bodies: list[str] = []

    def take(self, body: bytes) -> None:
        """Read an envelope (https://develop.sentry.dev/sdk/foundations/transport/envelopes/)."""
        self.bodies.append(body.decode())
        _, *lines = body.decode().splitlines()
        for head, item in zip(lines[::2], lines[1::2], strict=False):
            if json.loads(head)["type"] == "event":
                self.events.append(json.loads(item))

    def named(self, message: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("message") == message]


@contextmanager
def sentry() -> Iterator[Ingest]:
    received = Ingest()

    def take(request: Received) -> Reply:
        assert request.path == "/api/42/envelope/"
        is_packed = request.headers.get("content-encoding") == "gzip"
        received.take(gzip.decompress(request.body) if is_packed else request.body)
        return Reply()

    with receiving(take) as port:
        received.dsn = f"http://publickey@127.0.0.1:{port}/42"
        yield received


@pytest.fixture(scope="module")
def ingest() -> Iterator[Ingest]:
    with sentry() as receiving:
        environment = {**os.environ, "SENTRY_DSN": receiving.dsn, "SENTRY_ENVIRONMENT": "tests"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        yield receiving


def test_a_defect_of_a_publisher_is_reported_with_its_task(ingest: Ingest) -> None:
    (event,) = ingest.named("publish.crashed")
    assert event["extra"]["platform"] == "douyin"
    assert (event["tags"]["process"], event["tags"]["platform"], event["environment"]) == ("worker", "douyin", "tests")
    assert event["release"].startswith("everpost@")
    assert "cannot use ***" in event["extra"]["error"]


def test_a_crash_is_reported_with_its_frames_and_no_variables(ingest: Ingest) -> None:
    (event,) = ingest.named("request.crashed")
    (raised,) = event["exception"]["values"]
    assert (raised["type"], raised["value"]) == ("RuntimeError", "see https://h.example/?api_key=***")
    assert raised["stacktrace"]["frames"]
    assert all("vars" not in frame for frame in raised["stacktrace"]["frames"])
    assert event["extra"] == {"path": "/p", "password": "[Filtered]"}  # Sentry's word for it


def test_lines_of_the_standard_library_are_reported_and_warnings_are_not(ingest: Ingest) -> None:
    assert [event["logger"] for event in ingest.named("library.said")] == ["everpost.worker"]
    assert ingest.named("request.refused") == []


def test_a_loop_of_errors_is_reported_some_times_only(ingest: Ingest) -> None:
    assert len(ingest.named("loop.failed")) == MOST_A_MINUTE


def test_nothing_secret_and_no_payload_is_reported(ingest: Ingest) -> None:
    text = "\n".join(ingest.bodies)
    for unwanted in (SECRET, "abc123", "unique-title", os.uname().nodename):
        assert unwanted not in text
    assert not {"request", "user", "modules", "server_name"} & {name for event in ingest.events for name in event}


def test_without_an_address_nothing_is_imported() -> None:
    code = "import sys, everpost.logs; from everpost.error_reports import start_error_reports as start; "
    code += "from everpost.redaction import USUALLY; print(start({}, 'api', USUALLY), 'sentry_sdk' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "None False\n"
    )
    assert start_error_reports({"SENTRY_DSN": " "}, "api", USUALLY) is None
