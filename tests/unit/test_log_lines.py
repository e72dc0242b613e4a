"""Log lines are events with fields, whatever code writes them; a publisher's defect is logged with its place."""

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from everpost.log_fields import as_event
from everpost.logs import OF_A_LIBRARY, configure_logging
from everpost.platforms import Catalogue
from everpost.publishing import InvalidError, PublishJob
from everpost.settings import Settings
from everpost_workers.attempts.defects import LONGEST_TRACE, tell_of_defect, trace_of

ROOT = Path(__file__).parents[2]
EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+")
CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
ARQS_OWN = {"info", "debug"}  # levels at which Everpost does not show the engine's lines, which are arq's own words


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a logger in the code, and where it is."""
    for file in sorted([*(ROOT / "service").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS
            if is_call and isinstance(node.func.value, ast.Name) and node.func.value.id in {"log", "logger"}:  # type: ignore[attr-defined]
                yield f"{file.relative_to(ROOT)}:{node.lineno}", node  # type: ignore[attr-defined,misc]


def is_event(call: ast.Call) -> bool:
    """Whether the text is an event's name, one of the original's lines, or has a name or fields beside it."""
    texts = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if any(EVENT.fullmatch(text) or text.startswith("[DB] ") for text in texts[:1]):
        return True
    return any(keyword.arg == "extra" for keyword in call.keywords) or not texts


def test_every_line_is_an_event_with_fields() -> None:
    calls = list(log_calls())
    assert len(calls) > 80
    sentences = [
        place
        for place, call in calls
        if not is_event(call)
        and not (place.startswith("workers/everpost_workers/engine/") and call.func.attr in ARQS_OWN)  # type: ignore[attr-defined]
    ]
    assert sentences == []


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged as JSON meanwhile."""
    root, level = logging.getLogger(), logging.getLogger().level
    handlers, stream = root.handlers[:], io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging(Settings(log_format="json"))
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(lines: io.StringIO) -> list[dict[str, Any]]:
    """The lines, read."""
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_lines_of_the_engine_the_store_and_libraries_are_events(lines: io.StringIO) -> None:
    fields = as_event("job.taken_over", job_id="x", was="ended")
    logging.getLogger("arq.worker").warning("job %s was taken over", "x", extra=fields)
    logging.getLogger("everpost.store").info("database.opened", extra=as_event(path="/p", kind="current"))
    logging.getLogger("everpost.store").info("[DB] Added %d columns", 2, extra=as_event(columns=2))
    logging.getLogger("asyncio").error("Task was destroyed but it is %s!", "pending")
    engine, store, original, library = logged(lines)
    assert (engine["event"], engine["job_id"], engine["was"]) == ("job.taken_over", "x", "ended")
    assert (store["event"], store["path"], store["kind"]) == ("database.opened", "/p", "current")
    assert (original["event"], original["columns"]) == ("[DB] Added 2 columns", 2)
    assert (library["event"], library["message"]) == (OF_A_LIBRARY, "Task was destroyed but it is pending!")
    assert {line["level"] for line in (engine, store, original, library)} == {"warning", "info", "error"}


def raised_by(error: BaseException) -> BaseException:
    """The error, as it comes out of a publisher."""

    def publisher_of_somebody() -> None:
        raise error

    try:
        publisher_of_somebody()
    except BaseException as caught:  # noqa: BLE001 - it is what is asked for
        return caught
    raise AssertionError


def job() -> PublishJob:
    """A job of some account."""
    data = {"platform": 3, "account_id": "shop", "title": "secret title"}
    return PublishJob(
        task_id="t", data=data, platform=Catalogue.read(None).find(3), attempt=2, idempotency_key="k", media=None
    )


def test_an_unexpected_exception_is_logged_with_its_place_and_no_data() -> None:
    with capture_logs() as said:
        tell_of_defect(raised_by(KeyError("title")), job())
        tell_of_defect(raised_by(InvalidError("no")), job())
    assert len(said) == 1
    line = said[0]
    assert (line["event"], line["log_level"], line["error"]) == ("publish.crashed", "error", "KeyError: 'title'")
    assert (line["task_id"], line["platform"], line["account_id"], line["attempt"]) == ("t", "douyin", "shop", 2)
    assert "publisher_of_somebody" in line["exception"]
    assert "secret title" not in repr(said)


class Unprintable(Exception):
    """Raises when it is shown."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "error", [Unprintable(), KeyError("x" * 10**6), ExceptionGroup("many", [ValueError("a")] * 500)]
)
def test_a_trace_is_bounded_whatever_was_raised(error: Exception) -> None:
    trace = trace_of(raised_by(error))
    assert type(error).__name__ in trace
    assert len(trace) <= LONGEST_TRACE + 10
