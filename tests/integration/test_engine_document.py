"""docs/engine.md is true: its example runs without Everpost, and its tables are complete."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from arq.worker import Worker

from engine_support import Server, running_server
from everpost_workers import engine

DOCUMENT = (Path(__file__).parents[2] / "docs" / "engine.md").read_text("utf-8")
WITHOUT_EVERPOST = "import sys; sys.modules['everpost'] = None; exec(sys.stdin.read())"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def test_the_example_runs_in_a_program_that_cannot_import_everpost(server: Server) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    (printed,) = re.findall(r"It prints:\n\n```\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    environment = {"REDIS": f"unix://{server.socket_path}", "PATH": ""}
    command = [sys.executable, "-W", "error", "-c", WITHOUT_EVERPOST]
    run = subprocess.run(
        command, input=program, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == printed


def test_the_options_are_those_of_the_worker() -> None:
    rows = re.findall(r"^\| (`.*?) \|", DOCUMENT.split("## The options")[1].split("\n## ")[0], flags=re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    parameters = inspect.signature(engine.BatchWorker).parameters.keys() - inspect.signature(Worker).parameters.keys()
    assert told == parameters


def test_the_hooks_are_those_of_the_worker() -> None:
    section = DOCUMENT.split("## The hooks")[1].split("## The options")[0]
    told = set(re.findall(r"^\| `(\w+)\(", section, flags=re.MULTILINE))
    parameters = inspect.signature(engine.BatchWorker).parameters.keys() - inspect.signature(Worker).parameters.keys()
    assert told == {name for name in parameters if name.startswith("on_")} - {"on_wrong_type"}


def test_the_public_names_are_there() -> None:
    assert set(engine.__all__) <= vars(engine).keys()
    assert [name for name in engine.__all__ if name not in DOCUMENT] == []
    assert engine.__doc__ is not None
    told = set(re.findall(r"(\w+\.py)", engine.__doc__))
    assert all((Path(engine.__file__).parent / name).is_file() for name in told)
