"""What a fleet's guards prevent does happen without them, and the checks find it."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from chaos_kit.checks import Verdict
from chaos_kit.fleet.nemesis import resume
from chaos_kit.fleet.scene import POSTGRESQL, FleetScene, playing_fleet
from chaos_kit.takeover import be_overtaken

pytestmark = pytest.mark.chaos

SEED = 1
TASKS = 20


async def play_promotion_that_loses_commits(folder: Path, **options: Any) -> Verdict:
    """Tasks are accepted by both servers, and sent while the standby hears nothing; then the standby is promoted."""
    scene = FleetScene(folder, seed=SEED, is_synchronous=False, most=TASKS, **options)
    async with playing_fleet(scene):
        with contextlib.ExitStack() as frozen:
            for worker in scene.workers:
                frozen.enter_context(worker.frozen())
            scene.load.start()
            await scene.load.more(TASKS)
            await scene.pair.caught_up()
            scene.network.cut(*POSTGRESQL)
        await scene.ended()
        scene.pair.kill(scene.pair.primary)
        await scene.pair.promote()
        scene.network.heal()  # not before, or the kernel sends what the killed server wrote into its connection
        if not options:
            assert (await resume(scene))["succeeded"] == TASKS  # Redis has their results
        return await scene.finish()


async def test_a_promotion_that_loses_commits_sends_nothing_again_since_it_pauses(tmp_path: Path) -> None:
    verdict = await play_promotion_that_loses_commits(tmp_path)
    assert verdict.is_good, verdict


async def test_without_the_pause_a_promotion_that_loses_commits_sends_tasks_again(tmp_path: Path) -> None:
    verdict = await play_promotion_that_loses_commits(tmp_path, without="pause")
    assert len(verdict.duplicated) == TASKS, verdict


async def play_takeover(folder: Path, *, sends: bool = False, **options: Any) -> Verdict:
    """A worker is cut off from all other hosts, and another one takes its task over."""
    scene = FleetScene(folder, seed=SEED, is_synchronous=True, most=1, **options)
    async with playing_fleet(scene):
        await be_overtaken(scene, lambda worker: scene.cut_off(worker.name), sends=sends)
        return await scene.finish()


async def test_a_worker_that_was_cut_off_and_one_that_took_its_task_over_send_once(tmp_path: Path) -> None:
    verdict = await play_takeover(tmp_path)
    assert verdict.is_good, verdict


async def test_without_fencing_both_workers_send(tmp_path: Path) -> None:
    verdict = await play_takeover(tmp_path, without="fencing", sends=True)
    assert len(verdict.duplicated) == 1, verdict
