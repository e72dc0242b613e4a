"""The tutorial, command by command, as a reader types it."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_support import Up, is_alive, until

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")
SHOWN_ADDRESS = "http://127.0.0.1:8000"
CHANGING = ("curl", "everpost retry", "everpost edit")
"""The beginnings of commands that answer with the id of a task, whose end the reader sees."""


class Reader:
    """Types the commands of the tutorial in a folder. Its `everpost up` is the one that was started last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.up: Up | None = None
        self.task_id = ""
        (folder / "everpost-data").symlink_to("data")  # the data folder of `Up`
        (folder / "bin").mkdir()
        (folder / "bin" / "everpost").write_text(f'#!/bin/sh\nexec {sys.executable} -m everpost.cli "$@"\n')
        (folder / "bin" / "everpost").chmod(0o700)

    def follow(self, section: str) -> str:
        """Type what a section shows; return what the last command wrote."""
        shown = ""
        for language, block in re.findall(r"```(\w+)\n(.*?)```", section, flags=re.DOTALL):
            if language == "python":
                (self.folder / "board.py").write_text(block)
            for command in commands(block) if language == "console" else ():
                shown = self.type(command)
        return shown

    def type(self, command: str) -> str:
        """Type one command, and wait for what follows from it."""
        if command.endswith("everpost up"):
            self.start(**dict(re.findall(r"EVERPOST_(\w+)=(\S+)", command)))
            return ""
        assert self.up is not None
        children = self.up.children() if command.startswith("kill") else {}
        typed = command.replace("ID", self.task_id).replace(SHOWN_ADDRESS, self.up.url)
        env = {**self.up.env, "PATH": f"{self.folder / 'bin'}:{self.up.env['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", typed], cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, (typed, done.stdout, done.stderr)
        if children:
            assert set(children) == {"api", "workers", "valkey"}
            assert self.up.process.wait(10) == -signal.SIGKILL
            until(lambda: not any(map(is_alive, children.values())), "the end of its processes")
        if command.startswith(CHANGING):
            self.task_id = re.findall(r"[0-9a-f]{32}", done.stdout)[-1]
            if "schedule_time" not in command:
                self.up.wait_until_ended(self.task_id)
        return done.stdout

    def start(self, **settings: str) -> None:
        """Stop the `everpost up` that runs, if one does, and start another one."""
        if self.up is not None and self.up.process.poll() is None:
            assert self.up.stop(signal.SIGINT) == 0
        paths = {name: str(self.folder / value) for name, value in settings.items()}
        self.up = Up(self.folder, **paths).wait_for("Everpost serves").wait_for("worker.started")


def commands(block: str) -> list[str]:
    """The commands of a block; what they answer is left out."""
    found: list[str] = []
    is_open = False
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(line[2:])
            is_open = line.endswith(("-d '{", "<<END"))
        elif is_open:
            found[-1] += f"\n{line}"
            is_open = not line.endswith(("}'", "END"))
    return found


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    if reader.up is not None:
        reader.up.__exit__()


@pytest.mark.chaos  # it takes long; .ci/run runs it
def test_the_tutorial_works_as_it_is_written(reader: Reader) -> None:
    first, *sections = re.split(r"^## \d\. ", TUTORIAL, flags=re.MULTILINE)[1:]
    assert commands(first)[-1] == "everpost up"
    reader.type("everpost up")
    post, connect, mend, decide, kill = sections
    published = reader.follow(post)
    assert json.loads(published)["task_id"] == reader.task_id
    reader.follow(connect)
    board = []
    for section, title in (
        (mend, "A short title"),
        (decide, "Before a power cut"),
        (kill.split("\n## ")[0], "For later"),
    ):
        reader.follow(section)
        board.append(title)
        assert (reader.folder / "board.txt").read_text().splitlines() == board
