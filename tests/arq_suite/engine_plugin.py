"""A pytest plugin for arq's own tests: it gives them a Valkey instead of a container, and the engine under test.

ARQ_SUITE_ENGINE=batch puts `BatchWorker` in the place of `arq.Worker` before any test module is imported; anything else
leaves stock arq. ARQ_SUITE_OUTCOMES names a file that takes the engine and each test's outcome as JSON.
"""

import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Self

import pytest

from everpost.embedded import server_program

HOST = "127.0.0.1"
DEADLINE_S = 20.0

outcomes: dict[str, str] = {}


class LocalRedis:
    """What arq's conftest wants of testcontainers' RedisContainer, without a container."""

    port = 6379

    def __init__(self, image: str) -> None:
        del image
        self._folder = tempfile.TemporaryDirectory(prefix="arq-suite-")
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self._port = probe.getsockname()[1]

    def __enter__(self) -> Self:
        options = ["--port", str(self._port), "--bind", HOST, "--save", "", "--dir", self._folder.name]
        self._process = subprocess.Popen([server_program(), *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((HOST, self._port)):
                return self
            time.sleep(0.01)
        raise TimeoutError("the server does not start")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def get_container_host_ip(self) -> str:
        return HOST

    def get_exposed_port(self, _: int) -> int:
        return int(self._port)


def _stand_in_for_testcontainers() -> None:
    package, module = ModuleType("testcontainers"), ModuleType("testcontainers.redis")
    module.__dict__["RedisContainer"] = LocalRedis
    sys.modules |= {"testcontainers": package, "testcontainers.redis": module}


def _put_engine_in_place() -> None:
    engine = importlib.import_module("everpost_workers.engine").BatchWorker
    for name in ("arq", "arq.worker"):
        importlib.import_module(name).__dict__["Worker"] = engine


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A failure of set-up or tear-down is the test's."""
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    """Tell what came of each test."""
    engine = importlib.import_module("arq").Worker
    told = {"engine": f"{engine.__module__}.{engine.__qualname__}", "outcomes": outcomes}
    Path(os.environ["ARQ_SUITE_OUTCOMES"]).write_text(json.dumps(told), "utf-8")


# Now, as the plugin is imported: the suite's conftest is imported before any hook is called.
_stand_in_for_testcontainers()
if os.environ.get("ARQ_SUITE_ENGINE") == "batch":
    _put_engine_in_place()
