"""What `everpost show` prints of a task's checkpoint and of its progress."""

from typing import Any

import pytest

from everpost.cli.screen import print_task

TASK = {"task_id": "t", "status": "running", "attempts": []}


def shown(capsys: pytest.CaptureFixture[str], **fields: Any) -> str:
    print_task({"data": {**TASK, **fields}}, 0)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        ({"done": 1_500, "total": 3_000, "at": "2026-01-01T00:00:00Z"}, "1,500 of 3,000 (50 %), 2026-01-01T00:00:00Z"),
        ({"done": 1.5, "total": None, "at": "2026-01-01T00:00:00Z"}, "1.5, 2026-01-01T00:00:00Z"),
        ({"done": 1, "total": 0, "at": "2026-01-01T00:00:00Z"}, "1, 2026-01-01T00:00:00Z"),
    ],
)
def test_progress_is_shown_in_its_own_unit(
    progress: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"progress  {words}\n" in shown(capsys, progress=progress)


def test_a_task_without_progress_shows_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "progress" not in shown(capsys, progress=None)


@pytest.mark.parametrize(("checkpoint", "words"), [({"upload": "测"}, '"upload": "测"'), (0, "0"), ("\x1b[31m", "")])
def test_a_checkpoint_is_shown_and_cannot_control_the_terminal(
    checkpoint: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, checkpoint=checkpoint, checkpoint_attempt=2)
    assert "\ncheckpoint\n" in text
    assert words in text.partition("\ncheckpoint\n")[2]
    assert "\x1b" not in text


def test_a_task_without_a_checkpoint_shows_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "checkpoint" not in shown(capsys, checkpoint=None, checkpoint_attempt=None)
