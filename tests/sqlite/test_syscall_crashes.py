"""The exhaustive crash loop: a kill at every write, flush and send of one accepted task and of one that ends."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from chaos_kit.load import HANG_S
from chaos_kit.processes import PythonProcess
from chaos_kit.scene import Scene, playing
from everpost.children import Child
from everpost.publishing import PublisherClass
from everpost.store.sqlite.library import sqlite3
from everpost.testing import eventually

CALLS = ("pwrite64", "fsync", "fdatasync", "write", "sendto")
FLUSHES = {"fsync", "fdatasync"}  # SQLite uses the one or the other
MOST = 200
ENDED = "SELECT count(*) FROM publish_tasks WHERE job_id = ?"

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (Debian: apt install strace)"),
]


@asynccontextmanager
async def killed_at(process: PythonProcess, call: str, number: int) -> AsyncIterator[None]:
    """Have the process killed at the so-many-th such call of any of its threads."""
    assert process.child is not None
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    log = process.points / "strace.log"
    with log.open("wb") as said:
        strace = Child(["strace", "-f", *inject, "-p", str(process.child.pid)], output=said)

    async def is_attached() -> bool:
        said = log.read_text("utf-8")
        assert "attached" in said or strace.exit_code is None, said  # it ends with a process that is killed at once
        return "attached" in said

    await eventually(is_attached, what="strace")
    try:
        yield
    finally:
        await strace.stop()


async def crash_at_each(process: PythonProcess, call: str, act: Callable[[], Awaitable[bool]]) -> int:
    """Kill the process at one call after the other, until `act` comes to its end; how many kills that took."""
    for number in range(1, MOST):
        if not process.is_running:
            await process.start()
        async with killed_at(process, call, number):
            is_done = await act()
        if is_done:
            return number - 1
        process.kill()
    raise AssertionError(f"{MOST} kills at {call}, and no end")


async def count_crashes(process: PythonProcess, act: Callable[[], Awaitable[bool]]) -> dict[str, int]:
    """Do so for every call; how many kills each took."""
    crashes = {call: await crash_at_each(process, call, act) for call in CALLS}
    sys.stdout.write(f"\n{process.name}: {crashes}\n")
    return crashes


async def test_an_acceptance_killed_at_any_system_call_leaves_a_whole_task_or_none(tmp_path: Path) -> None:
    async with playing(Scene(tmp_path, seed=31, publisher_class=PublisherClass.NONE, workers=1)) as scene:
        (api,) = scene.apis
        posts: list[asyncio.Task[str | None]] = []

        async def accept() -> bool:
            posts.append(post := asyncio.create_task(post_one()))

            async def is_over() -> bool:
                return post.done() or not api.is_running

            await eventually(is_over, what="an answer, or the end of the API")
            return post.done() and post.result() is not None

        async def post_one() -> str | None:
            async with httpx.AsyncClient(timeout=HANG_S) as client:
                return await scene.load.post(client, scene.chance)

        crashes = await count_crashes(api, accept)
        assert crashes["pwrite64"] > 5
        assert sum(crashes[call] for call in FLUSHES) >= 1
        assert crashes["write"]
        await asyncio.gather(*posts)
        verdict = await scene.finish()
        assert verdict.is_good, verdict
        assert verdict.unknown == 0


@pytest.mark.parametrize("publisher_class", [PublisherClass.NONE, PublisherClass.KEYED])
async def test_a_completion_killed_at_any_system_call_is_made_up_for(
    tmp_path: Path, publisher_class: PublisherClass
) -> None:
    scene = Scene(tmp_path, seed=32, publisher_class=publisher_class, workers=1, delay_ms=2)
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S) as client:
        (worker,) = scene.workers

        async def complete() -> bool:
            task_id = await scene.load.post(client, scene.chance)

            async def is_over() -> str | None:
                if has_ended(scene.database_file, str(task_id)) and not await scene.redis.exists(f"arq:job:{task_id}"):
                    return "ended"
                return None if worker.is_running else "killed"

            return await eventually(is_over, what="the end of the task or of the worker") == "ended"

        crashes = await count_crashes(worker, complete)
        assert crashes["pwrite64"] > 10
        assert sum(crashes[call] for call in FLUSHES) >= 1
        verdict = await scene.finish()
        assert verdict.is_good, verdict


def has_ended(database: Path, task_id: str) -> bool:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return bool(connection.execute(ENDED, (task_id,)).fetchone()[0])
    finally:
        connection.close()
