"""Runs the documents' examples: requests and their answers, commands, a backup and its restore."""

import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli_support import Up, run, serving
from everpost.settings import VARIABLES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
POSTING, RETRYING, DEPLOY = (
    (ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in ("posting", "retrying", "deploy")
)
BACKUP = (ROOT / "docs" / "backup.md").read_text("utf-8")
FAILPOINTS = (ROOT / "docs" / "failpoints.md").read_text("utf-8")
CONTAINERS = (ROOT / "docs" / "containers.md").read_text("utf-8")
SHOWN_ADDRESS = "http://127.0.0.1:8000"
SHOWN_ID = re.compile(r"[0-9a-f]{32}")
SHORTENED_ID = "01a20dcc"


def blocks(text: str, language: str) -> list[str]:
    """The examples of a document in one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(block: str) -> Iterator[list[str]]:
    """The words of each command of a console example; its answers are left out."""
    text = block.replace("\\\n", "")  # a line that goes on
    for entry in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        shown = re.split(r"\nHTTP/1.1 ", entry)[0]
        yield shlex.split(shown, comments=True)


def send(words: list[str], url: str) -> httpx.Response:
    """What curl would send."""
    method, headers, body, address = "GET", {}, None, ""
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            method, body = "POST", next(rest)
        elif word != "-i":
            address = word.replace(SHOWN_ADDRESS, url)
    return httpx.request(method, address, headers=headers, content=body, timeout=30)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with serving(tmp_path_factory.mktemp("up")) as up:
        yield up


@pytest.mark.parametrize("text", [README, POSTING], ids=["readme", "posting"])
def test_the_documented_requests_are_answered_as_it_says(up: Up, text: str) -> None:
    requests = [block for block in blocks(text + RETRYING, "console") if block.startswith("$ curl")]
    assert len(requests) == 3
    (publish,) = commands(requests[0])
    answer = send(publish, up.url)
    assert answer.status_code == int(re.search(r"HTTP/1.1 (\d+)", requests[0])[1])  # type: ignore[index]
    shown = json.loads(requests[0].splitlines()[-1])
    task_id = answer.json()["task_id"]
    assert answer.json() == {**shown, "task_id": task_id}
    assert answer.headers["location"] == f"/api/v1/tasks/{task_id}"
    look, retry = ([SHOWN_ID.sub(task_id, word) for word in words] for words in commands(requests[1]))
    assert send(look, up.url).json()["data"]["status"] == "success"
    assert send(retry, up.url).json()["code"] == "task_succeeded"  # "runs it again, if it failed"
    edited, command = ([SHOWN_ID.sub(task_id, word) for word in words] for words in commands(requests[2]))
    assert send(edited, up.url).json()["code"] == "task_succeeded"
    told = everpost(up, [task_id if word == SHORTENED_ID else word for word in command]).stderr
    assert "task_succeeded" in told


def everpost(up: Up, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of an example beside a running stack."""
    return up.everpost(*words[1:])


def test_the_documented_backup_is_restored_and_resumed(up: Up, tmp_path: Path) -> None:
    make, restore, _, look, resume = commands(blocks(BACKUP, "console")[0])
    copy = str(tmp_path / "copy.db")
    task_id = up.publish()
    up.wait_until_ended(task_id)
    assert everpost(up, [*make[:2], copy]).returncode == 0
    restored = run(*restore[1:2], copy, env={**up.env, "EVERPOST_DATA": str(tmp_path / "data")})  # of another machine
    assert restored.returncode == 0, restored.stderr
    with Up(tmp_path) as other:
        other.wait_for("Everpost serves")
        waiting = other.publish()
        assert everpost(other, look).returncode == 0
        assert everpost(other, resume).returncode == 0
        assert other.wait_until_ended(waiting)["status"] == "success"
        assert other.wait_until_ended(task_id)["status"] == "success"


def test_the_documented_decisions_are_taken_as_commands(up: Up) -> None:
    listed, *decisions = commands(blocks(BACKUP, "console")[1])
    task_id = up.publish()
    up.wait_until_ended(task_id)
    assert everpost(up, listed).returncode == 0
    for words in decisions:
        refused = everpost(up, [task_id if word == "TASK_ID" else word for word in words])
        assert (refused.returncode, "not unknown" in refused.stderr) == (1, True), refused.stderr


def test_a_failpoint_is_set_as_documented(tmp_path: Path) -> None:
    (block,) = blocks(FAILPOINTS, "console")
    (tmp_path / "points").mkdir()
    subprocess.run(["sh", "-c", block.removeprefix("$ ")], cwd=tmp_path, check=True)
    assert [(file.name, file.read_text()) for file in (tmp_path / "points").iterdir()] == [("record.after", "kill")]


def test_the_token_of_compose_is_kept_in_a_file_only_its_owner_reads(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(DEPLOY, "console") if "docker compose" in block]
    first, second = block.strip().splitlines()
    assert (second, ">.env)" in first) == ("$ docker compose up --detach --build", True)
    line = first.removeprefix("$ ").replace("openssl rand -hex 24", "echo 0123456789abcdef")
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    kept = tmp_path / ".env"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("EVERPOST_TOKEN=0123456789abcdef\n", 0o600)
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_the_documented_image_is_built_on_what_the_image_has() -> None:
    (dockerfile,) = blocks(CONTAINERS, "dockerfile")
    ours = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(r"ARG PYTHON_IMAGE=(\S+)", dockerfile)[1] == re.search(r"ARG PYTHON_IMAGE=(\S+)", ours)[1]  # type: ignore[index]
    for folder in re.findall(r"/opt/\w+", dockerfile):
        assert folder in ours


def test_the_readme_shown_elsewhere_links_to_the_repository() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shown = README
    for rule in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        shown = re.sub(rule["pattern"], rule["replacement"], shown)
    home = project["project"]["urls"]["Homepage"]
    links = re.findall(r"\]\(([^)]+)\)", shown)
    assert links
    for link in links:
        assert link.startswith(("https://", "#")), link
        if link.startswith(home):
            kind = "raw" if link.endswith(".png") else "blob"  # the page of a picture is no picture
            assert link.startswith(f"{home}/{kind}/main/"), link
            path = link.removeprefix(f"{home}/{kind}/main/").partition("#")[0]
            assert (ROOT / path).exists(), link


@pytest.mark.parametrize("name", ["EVERPOST_MEDIA", "EVERPOST_PLATFORMS"])
def test_the_settings_of_the_documented_containers_exist(name: str) -> None:
    assert name in CONTAINERS
    assert name in VARIABLES
    assert name not in os.environ
