"""What the log says of posts that failed, and of publishers with a bug."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cli_support import Up
from everpost.publishing import AuthError, TransientError
from everpost.testing import Stack, eventually


async def logged(lines: Sequence[Mapping[str, Any]], event: str) -> None:
    """Wait for a line: an end is logged after it is written."""

    async def is_there() -> bool:
        return any(line["event"] == event for line in lines)

    await eventually(is_there, what=event)


async def test_a_publisher_s_bug_is_one_error_with_its_place_and_its_task_a_warning(everpost: Stack) -> None:
    with capture_logs() as lines:
        await everpost.stop_workers()
        await everpost.start_worker()
        everpost.publisher.fail_next(KeyError("title"))
        task_id = await everpost.publish(account_id="shop", title="a secret title")
        await everpost.wait_until_ended(task_id)
        await logged(lines, "task.completed")
    said = [line for line in lines if line.get("task_id") == task_id and line["log_level"] in {"error", "warning"}]
    crashed, completed = said
    assert (crashed["event"], crashed["log_level"], crashed["account_id"]) == ("publish.crashed", "error", "shop")
    assert (crashed["platform"], crashed["attempt"]) == (completed["platform"], completed["attempt"])
    assert "in publish" in crashed["exception"]
    assert (completed["event"], completed["log_level"], completed["status"]) == ("task.completed", "warning", "unknown")
    assert completed["duration_s"] >= 0
    assert "a secret title" not in repr(said)


@pytest.mark.parametrize(("error", "warnings"), [(AuthError("sign in"), 1), (TransientError("502"), 0)])
async def test_a_publish_error_is_not_logged_as_an_error(everpost: Stack, error: Exception, warnings: int) -> None:
    with capture_logs() as lines:
        await everpost.stop_workers()
        await everpost.start_worker()
        everpost.publisher.fail_next(error)
        task_id = await everpost.publish()
        await everpost.wait_until_ended(task_id)
        if warnings:
            await logged(lines, "task.completed")
    assert [line for line in lines if line["log_level"] == "error"] == []
    completed = [line for line in lines if line["event"] == "task.completed" and line["log_level"] == "warning"]
    assert len(completed) == warnings
    if completed:
        assert (completed[0]["error_class"], completed[0]["attempt"], completed[0]["account_id"]) == (
            "auth",
            1,
            "account",
        )


def test_with_json_lines_all_that_up_says_is_events(tmp_path: Path) -> None:
    with Up(tmp_path, LOG_FORMAT="json") as up:
        up.wait_for("up.serving").wait_for("worker.started")
        assert up.stop() == 0, up.said()
    lines = [json.loads(line) for line in up.said().splitlines()]
    names = [line["event"] for line in lines]
    assert [name for name in names if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name)] == []
    assert {"up.serving", "up.stopping", "up.stopped", "database.opened", "api.serving", "worker.started"} <= set(names)
    serving = lines[names.index("up.serving")]
    assert (serving["url"][:7], serving["database"]) == ("http://", str(tmp_path / "data" / "everpost.db"))
    opened = lines[names.index("database.opened")]
    assert {"path", "library", "kind"} <= set(opened)
