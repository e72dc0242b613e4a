"""`everpost demo --platform bluesky`, as people run it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.peer


def test_the_demonstration_posts_to_a_real_server_once_although_its_worker_is_killed(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "everpost.cli",
        "demo",
        "--platform",
        "bluesky",
        "--folder",
        str(tmp_path / "demo"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "and the server has it once" in done.stdout
    assert "Every step held." in done.stdout
