"""A worker whose publisher never frees its slot, or blocks the loop, is replaced by `everpost up`."""

from pathlib import Path

import pytest

from cli_support import serving, until
from trying_publishers import KEYED, PLAIN, Trial

REPLACED_S = 120

pytestmark = pytest.mark.chaos


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    trial = Trial(tmp_path / "trial")
    monkeypatch.setenv("PYTHONPATH", trial.python_path)
    trial.open_gate()
    return trial


@pytest.mark.parametrize(
    ("do", "platforms", "said"),
    [
        ("deaf", [PLAIN, KEYED], "cancelled=4 cause=timeout"),
        ("block", [PLAIN], "worker.blocked"),
    ],
)
def test_a_worker_that_cannot_get_rid_of_an_attempt_says_so_and_is_replaced(
    tmp_path: Path, trial: Trial, do: str, platforms: list[str], said: str
) -> None:
    with serving(tmp_path, PLATFORMS=trial.platforms, JOB_TIMEOUT="1", MAX_JOBS="3", MAX_ATTEMPTS="1") as up:
        task_ids = [up.publish(platform=platform, do=do) for platform in platforms]
        until(lambda: said in up.said(), said, REPLACED_S)
        until(lambda: up.said().count("worker.started") == 2, "another worker", REPLACED_S)
        assert up.wait_until_ended(up.publish(platform=PLAIN))["status"] == "success"
        assert {up.wait_until_ended(task_id)["status"] for task_id in task_ids} == {"unknown"}
        assert trial.calls().count(task_ids[0]) == 1, "no worker may repeat what may still be sending"
        assert "trying.py" in up.said(), "the log says where it hangs"
        assert up.stop() == 0
