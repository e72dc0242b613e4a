"""Load, back up, go on, destroy, restore, resume: the backup's tasks are all there, and nothing is sent twice."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import httpx
import pytest

from chaos_kit.checks import read_effects, verdict_of
from chaos_kit.load import HANG_S
from chaos_kit.scene import Scene, playing
from cli_support import environment, run_process
from everpost.publishing import PublisherClass
from everpost.task.model import TaskStatus

SLOTS = 8
MORE = 60  # tasks between one event and the next
PAUSED = '"dispatch.paused"'


def everpost(scene: Scene, *arguments: str) -> None:
    done = run_process(*arguments, env=environment(DATA=str(scene.folder)))
    assert done.returncode == 0, done.stderr


async def destroy(scene: Scene, *, with_redis: bool) -> None:
    """Everything at once, and the disk with it."""
    for process in (*scene.apis, *scene.workers):
        process.kill()
    scene.valkey.kill()
    for file in scene.folder.glob("everpost.db*"):
        file.unlink()
    if with_redis:
        await asyncio.to_thread(shutil.rmtree, scene.folder / "valkey" / "appendonlydir")
    await scene.valkey.start()


async def start_paused(scene: Scene) -> None:
    """Start everything, and see that tasks are accepted and none is sent."""
    await asyncio.gather(*(process.start(ready=PAUSED) for process in (*scene.apis, *scene.workers)))
    sent = len(read_effects(scene.effects))
    await scene.load.more(MORE)
    assert len(read_effects(scene.effects)) == sent


@pytest.mark.parametrize(
    "with_redis",
    [
        pytest.param(True, id="redis is lost too", marks=pytest.mark.chaos),
        pytest.param(False, id="redis is newer than the backup"),
    ],
)
async def test_a_restored_stack_sends_nothing_twice(tmp_path: Path, *, with_redis: bool) -> None:
    scene = Scene(tmp_path, seed=4, publisher_class=PublisherClass.NONE, delay_ms=60, slots=SLOTS)
    async with playing(scene):
        scene.load.start()
        await scene.load.more(MORE)
        backup = tmp_path / "backup.db"
        before = set(scene.load.acked)
        await asyncio.to_thread(everpost, scene, "backup", str(backup))
        await scene.load.more(MORE)
        await scene.sent(MORE)
        with scene.held_answers():
            await scene.sent(SLOTS)  # they are being sent when the machine dies
            await destroy(scene, with_redis=with_redis)
        await asyncio.to_thread(everpost, scene, "restore", str(backup))
        await start_paused(scene)
        async with httpx.AsyncClient(base_url=scene.addresses()[0], timeout=HANG_S) as client:
            answer = await client.post("/api/v1/dispatch/resume")
            assert answer.status_code == 200, answer.text
        await scene.load.more(MORE)
        await scene.finish()
        facts = await scene.facts()
        verdict = verdict_of(facts, PublisherClass.NONE)
        statuses = Counter(row.status for row in facts.rows)
        assert not before & set(verdict.lost)
        # A request whose answer was lost with the disk was sent again by its client, and its key is not in the backup.
        assert [line for line in verdict.duplicated if "became" not in line] == []
        # A success that only Redis knew is recorded without its data, which its result has not (docs/backup.md).
        bare = {row.task_id for row in facts.rows if row.data is None and row.status == TaskStatus.SUCCESS}
        assert not before & bare
        assert [
            line for line in verdict.unexpected if "is not recorded" not in line and line.split()[0] not in bare
        ] == []
        assert statuses[TaskStatus.UNKNOWN]
        if not with_redis:
            assert not verdict.lost
