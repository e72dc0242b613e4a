"""Failpoints: they do nothing when off, and carry out the file's action once when on; the documentation lists all."""

import asyncio
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from everpost.failpoints import Action, FailpointHit, failpoint, hit_of, watch_failpoints
from everpost.testing import eventually

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "failpoints.md").read_text("utf-8")
POINTS = re.findall(r"^\| `([a-z._]+)` \| (?:any|API|worker|move) \|", DOCUMENT, re.MULTILINE)
KILLED_HERE = """
import sys
from pathlib import Path
from everpost.failpoints import failpoint, watch_failpoints
watch_failpoints(Path(sys.argv[1]))
failpoint("here")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    watch_failpoints(tmp_path)
    yield tmp_path
    watch_failpoints(None)


IN_EACH_STORE = {"commit.before", "commit.after"}


def test_every_point_is_in_the_document_and_in_one_place_of_the_code() -> None:
    files = [*ROOT.glob("service/**/*.py"), *ROOT.glob("workers/**/*.py")]
    named = [name for file in files for name in re.findall(r'failpoint\("(.+?)"\)', file.read_text("utf-8"))]
    assert sorted({*named}) == sorted(POINTS)
    assert {name for name in named if named.count(name) > 1} == IN_EACH_STORE


def test_every_action_is_in_the_document() -> None:
    assert set(re.findall(r"^\| `([a-z]+)` \|", DOCUMENT, re.MULTILINE)) == set(Action)


def test_a_point_without_an_action_does_nothing(folder: Path) -> None:
    (folder / "there").write_text("raise")
    failpoint("here")
    watch_failpoints(None)
    failpoint("there")
    assert (folder / "there").exists()


def test_an_action_is_done_once(folder: Path) -> None:
    (folder / "here.now").write_text("raise")
    with pytest.raises(FailpointHit, match=r"here\.now"):
        failpoint("here.now")
    failpoint("here.now")


async def test_a_pause_ends_when_its_file_is_removed(folder: Path) -> None:
    (folder / "here").write_text("pause")
    reaching = threading.Thread(target=failpoint, args=("here",))
    reaching.start()
    await eventually(lambda: asyncio.to_thread(hit_of(folder / "here").exists), what="the pause")
    assert reaching.is_alive()
    hit_of(folder / "here").unlink()
    reaching.join(5)
    assert not reaching.is_alive()


def test_a_kill_is_a_kill(folder: Path) -> None:
    (folder / "here").write_text("kill")
    killed = subprocess.run([sys.executable, "-c", KILLED_HERE, str(folder)], cwd=ROOT, timeout=20, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert hit_of(folder / "here").exists()
