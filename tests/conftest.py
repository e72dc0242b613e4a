"""Sets up hypothesis, log levels and the look of logs, and makes a certificate."""

import gc
import inspect
import logging
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from litestar.utils.signature import ParsedSignature

import stores
from everpost import testing
from lent_valkey import lend_servers

gc.disable()  # until all tests are collected

# No test asserts on time, and a busy machine is slow. `make chaos` runs the same properties with the profile `many`.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("patient", PATIENT, max_examples=30)
settings.register_profile("many", PATIENT, max_examples=300)
settings.load_profile("patient")


RENDERER = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
PROCESSORS = [*structlog.get_config()["processors"][:-1], RENDERER]


def remember_signatures() -> None:
    """Let Litestar parse the signature of a route's function once: the tests make a thousand applications of them."""
    parse = ParsedSignature.from_fn
    parsed: dict[CodeType, ParsedSignature] = {}

    def remembered(function: Callable[..., Any], namespace: dict[str, Any]) -> ParsedSignature:
        # Litestar makes a function for OPTIONS a route, all with one code.
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is None:
            return parse(function, namespace)
        if code not in parsed:
            parsed[code] = parse(function, namespace)
        return parsed[code]

    ParsedSignature.from_fn = staticmethod(remembered)  # type: ignore[assignment,method-assign]


remember_signatures()
lend_servers()


class LinesOfScenes:
    """Prints the lines of JSON of `make chaos`, whose scenes run in several processes."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        lines = [line for line in report.capstdout.splitlines() if line.startswith("{")]
        if report.when == "call" and lines:
            sys.stdout.write("\n".join(("", report.nodeid.rpartition("::")[2], *lines, "")))


def pytest_collection_finish() -> None:
    """Exclude all tests and modules from garbage collection: a collection in a test took a tenth of a second."""
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    # Shells start jobs with signals ignored (SIGINT in the background, SIGHUP by nohup). Child processes inherit it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    if config.option.markexpr == "chaos" and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(LinesOfScenes())


@pytest.fixture(autouse=True)
def _plain_tracebacks() -> None:
    """Switch off rich's tracebacks: by default it draws the source around each line, which takes half a second."""
    structlog.configure(processors=PROCESSORS)


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """Restore the log levels after a test that called a command in this process."""
    loggers = [logging.getLogger(name) for name in ("", "everpost", "uvicorn.error")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(params=stores.ADDRESSES)
def both_stores(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a test with each kind of store: its stacks (`everpost.testing`) and scenes use an empty one of that kind."""
    with _store_of_stacks(request.param, tmp_path, monkeypatch):
        yield


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.chaos)])
def both_stores_in_chaos(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """`both_stores`, of which `make test` runs the default one only."""
    with _store_of_stacks(request.param, tmp_path, monkeypatch):
        yield


@contextmanager
def _store_of_stacks(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with stores.empty_store(kind, folder) as address:
        if kind != "sqlite":  # every stack has a file of its own by default
            monkeypatch.setattr(stores, "chosen", address)
            monkeypatch.setattr(testing, "QUICK", {**testing.QUICK, "database": address})
        yield


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for the name localhost only, which this test trusts."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed (Debian: apt install openssl)")
    pem, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(pem)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    return context
