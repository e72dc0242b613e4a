"""A task that kills its process ends no other task: suspects run in cells, which shows the guilty one."""

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli_support import Up, descendants, serving, until
from trying_publishers import KEYED, LOCAL, PLAIN, Trial

OF_EACH = 8
ENDED = {"success", "failed", "cancelled", "unknown"}

pytestmark = pytest.mark.usefixtures("python_path")


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path / "trial")


@pytest.fixture
def python_path(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", trial.python_path)


def tasks_of(up: Up, task_ids: list[str]) -> list[dict[str, Any]]:
    """The tasks, once all of them have ended."""

    def ended() -> list[dict[str, Any]]:
        with httpx.Client(base_url=up.url) as client:
            tasks = [client.get(f"/api/v1/tasks/{task_id}").json()["data"] for task_id in task_ids]
        return tasks if all(task["status"] in ENDED for task in tasks) else []

    return until(ended, "the end of all tasks", 90)


def begin(up: Up, trial: Trial, poisons: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Innocent tasks of each platform and those that misbehave, all under way at once; the ids of both."""
    innocent = {name: [up.publish(platform=name) for _ in range(OF_EACH)] for name in (LOCAL, KEYED, PLAIN)}
    guilty = [up.publish(platform=LOCAL, do=what) for what in poisons]
    until(lambda: len(trial.calls()) == 3 * OF_EACH + len(guilty), "the beginning of all attempts")
    trial.open_gate()
    return innocent, guilty


def check_end(up: Up, trial: Trial, innocent: dict[str, list[str]], guilty: list[str]) -> None:
    for task in tasks_of(up, guilty):
        assert (task["status"], task["error_class"]) == ("unknown", "crashed"), task
        assert "the last one while it ran nothing else" in task["error_message"]
        assert [attempt.get("alone", False) for attempt in task["attempts"]][-1]
    rerunnable = innocent[LOCAL] + innocent[KEYED]
    assert Counter(task["status"] for task in tasks_of(up, rerunnable)) == {"success": 2 * OF_EACH}
    effects = Counter(trial.effects())
    for task in tasks_of(up, innocent[PLAIN]):  # a dead worker may have sent the others (I6)
        assert task["status"] in {"success", "unknown"}
        assert effects[task["task_id"]] <= 1
    assert not any(effects[task_id] for task_id in guilty)


def test_a_task_that_ends_its_process_ends_no_other_task_that_may_rerun(tmp_path: Path, trial: Trial) -> None:
    with serving(tmp_path, PLATFORMS=trial.platforms) as up:
        innocent, guilty = begin(up, trial, ["exit"])
        check_end(up, trial, innocent, guilty)
        assert up.said().count("starting it again") == 1, "the worker itself dies once"
        assert up.stop() == 0


@pytest.mark.chaos
def test_several_deadly_tasks_of_a_fleet_convict_themselves(tmp_path: Path, trial: Trial) -> None:
    with serving(tmp_path, "--workers", "2", PLATFORMS=trial.platforms) as up:
        innocent, guilty = begin(up, trial, ["segfault", "kill", "exit", "segfault"])
        check_end(up, trial, innocent, guilty)
        assert up.said().count("starting it again") <= 2, "each worker dies once at most"
        assert up.stop() == 0


@pytest.mark.chaos
def test_a_suspect_that_blocks_its_cell_is_cut_off_at_its_time_limit(tmp_path: Path, trial: Trial) -> None:
    trial.open_gate()
    with serving(tmp_path, PLATFORMS=trial.platforms, JOB_TIMEOUT="2", MAX_ATTEMPTS="1") as up:
        task_id = up.publish(platform=KEYED, do="block")
        until(lambda: trial.calls() == [task_id], "the attempt that blocks the worker")
        up.kill_worker()
        (task,) = tasks_of(up, [task_id])
        assert (task["status"], task["error_class"]) == ("unknown", "unknown")
        assert "did not answer within 2 s" in task["error_message"]
        other = up.wait_until_ended(up.publish(platform=KEYED))
        assert other["status"] == "success"
        assert up.stop() == 0
        assert not descendants(up.process.pid)
