"""Publishers in cells: after a death they publish in a child process of the worker, which may be killed in turn.

What they save and show passes from there. The worker's first process dies before it sends; the cell of the second is
killed after a checkpoint; a cell of its own ends the task.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

import mastodon_double
import pds_double
import wordpress_double
import youtube_double
from everpost.failpoints import Action
from everpost.testing import Stack, eventually, everpost_stack
from everpost.testing.trial.workers import PLATFORM, Crew, TrialWorker, install, publisher_of
from publisher_kit import HttpDouble

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores")]

KEY = f"{'k' * 43}="
IMAGE = b"\x89PNG\r\n\x1a\n" + b"x" * 200
VIDEO = bytes(600_000)  # three parts of 256 KB
LOCAL = {"allow_http": True, "allow_private": True}
PROGRAM = """
read -r task
case "$task" in *'"checkpoint":null'*) echo upload >> uploads; echo '{"type":"progress","done":1,"total":2}';; esac
while [ ! -e gate ]; do sleep 0.05; done
echo '{"type":"checkpoint","data":1}'; read -r saved <&3
echo "$task" >> posts; echo '{"type":"result"}'
"""


class Case(msgspec.Struct, kw_only=True):
    """A publisher, and the platform that it publishes to.

    Attributes:
        http: The double; None for a program.
        secrets: The account's credentials by name.
        held: The request that the double holds, with the upload before it.
        uploads, posts: Counts of what the platform has.
    """

    options: dict[str, Any]
    uploads: Callable[[], int]
    posts: Callable[[], int]
    http: HttpDouble | None = None
    secrets: Mapping[str, str] = MappingProxyType({})
    held: str = ""
    fields: Mapping[str, Any] = MappingProxyType({"file_path": "a.png"})
    gate: Path | None = None


def bluesky(_: Path) -> Case:
    pds = pds_double.PdsDouble()
    return Case(
        options={"service": "URL", "pds": "URL", **LOCAL},
        http=pds,
        secrets={"password": pds_double.PASSWORD},
        held="uploadBlob",
        uploads=lambda: pds.count("uploadBlob"),
        posts=lambda: len(pds.records),
    )


def mastodon(_: Path) -> Case:
    server = mastodon_double.MastodonDouble()
    return Case(
        options={"url": "URL", **LOCAL},
        http=server,
        secrets={"access_token": mastodon_double.TOKEN},
        held="/api/v2/media",
        uploads=lambda: len(server.media),
        posts=lambda: len(server.statuses),
    )


def wordpress(_: Path) -> Case:
    site = wordpress_double.WordPressDouble()
    return Case(
        options={"url": "URL", **LOCAL},
        http=site.http,
        secrets={"username": wordpress_double.USER, "password": wordpress_double.PASSWORD},
        held="/wp/v2/media",
        uploads=lambda: len(site.files),
        posts=lambda: site.publications,
    )


def youtube(_: Path) -> Case:
    servers = youtube_double.YouTube()
    return Case(
        options={"api_url": "URL", "token_url": f"URL{youtube_double.TOKEN}", "chunk_kb": 256},
        http=servers.http,
        secrets=youtube_double.CLIENT,
        held=youtube_double.THUMBNAILS,
        uploads=lambda: len(servers.sessions),
        posts=lambda: len(servers.videos),
        fields={"files": [{"file_path": "clip.mp4"}, {"file_path": "a.png"}], "playlist": "PL1"},
    )


def command(folder: Path) -> Case:
    def lines(name: str) -> int:
        path = folder / name
        return len(path.read_text("utf-8").splitlines()) if path.exists() else 0

    script = PROGRAM
    for name in ("uploads", "posts", "gate"):
        script = script.replace(f" {name}", f" {folder / name}")
    look_up = ["/bin/sh", "-c", """echo '{"type":"not_found"}'"""]
    return Case(
        options={"command": ["/bin/sh", "-c", script], "look_up": look_up, "grace_s": 0},
        uploads=lambda: lines("uploads"),
        posts=lambda: lines("posts"),
        gate=folder / "gate",
    )


@asynccontextmanager
async def serving(case: Case) -> AsyncIterator[None]:
    """Serve the double, and put its address into the options."""
    if case.http is None:
        yield
        return
    async with case.http.serve() as double:
        case.options = json.loads(json.dumps(case.options).replace("URL", double.url))
        yield


async def add_account(stack: Stack, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in case.secrets.items():
        monkeypatch.setenv(f"EVERPOST_ACCOUNT_{name.upper()}", value)
    references = {name: f"env:EVERPOST_ACCOUNT_{name.upper()}" for name in case.secrets}
    body = {"platform": PLATFORM, "account_id": "alice.test", "credentials": references}
    assert (await stack.client.post("/api/v1/accounts", json=body)).is_success


def cell_of(worker: TrialWorker) -> int | None:
    """The process id of the worker's cell."""
    pid = worker.pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            if b"everpost_workers" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


@asynccontextmanager
async def held(case: Case) -> AsyncIterator[None]:
    """Hold the attempt in the midst of its upload, until the end of the block."""
    release = asyncio.Event()
    if case.http is not None:
        case.http.holds[case.held] = release
    yield
    release.set()
    if case.gate is not None:
        case.gate.touch()


@pytest.mark.parametrize("make", [bluesky, mastodon, wordpress, youtube, command])
async def test_a_publisher_in_a_cell_saves_and_shows_and_a_killed_cell_is_taken_up(
    make: Callable[[Path], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "clip.mp4").write_bytes(VIDEO)
    case = make(tmp_path)
    async with serving(case):
        settings: dict[str, Any] = {"lease": 2.0, "secret_key": KEY, "media": tmp_path, "max_attempts": 9}
        settings["platforms"] = install(publisher_of(make.__name__), case.options, tmp_path / "plugin")
        async with everpost_stack(workers=0, folder=tmp_path / "stack", **settings) as stack:
            await add_account(stack, case, monkeypatch)
            crew = Crew(tmp_path / "workers", tmp_path / "plugin", stack.settings)
            try:
                task = await published_in_cells(stack, crew, case)
            finally:
                await crew.close()
    assert (task["status"], case.posts()) == ("success", 1), task
    assert [attempt.get("error_class") for attempt in task["attempts"]] == ["crashed", "crashed", None], task
    assert case.uploads() == 1, "the checkpoint of the cell that was killed has what it uploaded"


async def published_in_cells(stack: Stack, crew: Crew, case: Case) -> dict[str, Any]:
    """The task, after the deaths of a worker and of a cell."""
    worker = await crew.ready()
    worker.arm("send.before", Action.KILL)
    fields = {"platform": PLATFORM, "account_id": "alice.test", "title": "in a cell", "text": "in a cell"}
    task_id = await stack.publish(**fields, **case.fields)

    async def has_died() -> bool:
        return not worker.is_running

    async def progress() -> dict[str, Any] | None:
        shown: dict[str, Any] | None = (await stack.task(task_id)).get("progress")
        return shown if shown is not None and shown["done"] > 0 else None

    await eventually(has_died, what="the worker's death")
    async with held(case):
        worker = await crew.ready()
        shown = await eventually(progress, what="progress from the cell")
        assert shown is not None
        assert shown["total"], shown
        worker.arm("checkpoint.after", Action.PAUSE)

    async def has_saved() -> bool:
        return worker.is_at("checkpoint.after")

    await eventually(has_saved, what="a checkpoint from the cell")
    cell = cell_of(worker)
    assert cell is not None
    os.kill(cell, signal.SIGKILL)
    worker.go_on("checkpoint.after")
    return await stack.wait_until_ended(task_id)
