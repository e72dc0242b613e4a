"""A fleet on hosts of its own, whose network and servers fail: nothing acknowledged is lost, nothing is sent twice."""

import sys
import time
from pathlib import Path

import pytest

from chaos_kit.dials import SECONDS, SEED
from chaos_kit.fleet.nemesis import dealt, do, resume
from chaos_kit.fleet.scene import POSTGRESQL, FleetScene, playing_fleet

pytestmark = pytest.mark.chaos

WHILE = 60  # posts or effects
FEW = 10  # the same while one API keeps half of the clients waiting


async def test_a_worker_and_an_api_cut_off_from_the_database_go_on_afterwards(tmp_path: Path) -> None:
    scene = FleetScene(tmp_path, seed=SEED, is_synchronous=True)
    async with playing_fleet(scene):
        scene.load.start()
        await scene.load.more(WHILE)
        await scene.sent(WHILE)
        before = scene.logged()
        scene.strike()
        scene.network.cut(scene.primary, "api0", "worker0")
        await scene.said("database.primary_lost", [scene.apis[0], scene.workers[0]], before)
        await scene.load.refused(1)
        assert "database" in await scene.failing(scene.apis[0])
        await scene.load.more(FEW)
        await scene.sent(FEW)
        scene.network.heal()
        verdict = await scene.finish()
        assert verdict.is_good, verdict
        assert verdict.recovered


@pytest.mark.parametrize("is_synchronous", [True, False], ids=["synchronous", "asynchronous"])
async def test_faults_of_hosts_and_network_at_random(tmp_path: Path, *, is_synchronous: bool) -> None:
    sys.stdout.write(f"\nEVERPOST_CHAOS_SEED={SEED}\n")
    scene = FleetScene(tmp_path, seed=SEED, is_synchronous=is_synchronous)
    async with playing_fleet(scene):
        scene.tell("all is running")
        scene.load.start()
        await scene.load.more(WHILE)
        ends_at = time.monotonic() + SECONDS
        for names in dealt(f"{SEED} {is_synchronous}"):
            await do(scene, names)
            if time.monotonic() > ends_at:
                break
        scene.tell("the last fault is over")
        verdict = await scene.finish()
        scene.tell(f"all has ended; the slowest recovery took {max(scene.recovered_s):.1f} s")
        assert verdict.is_good, verdict


async def test_a_promotion_that_loses_commits_under_load_repeats_nothing(tmp_path: Path) -> None:
    """Redis and the workers know what the promoted standby lacks."""
    scene = FleetScene(tmp_path, seed=SEED, is_synchronous=False)
    async with playing_fleet(scene):
        scene.load.start()
        await scene.load.more(WHILE)
        await scene.pair.caught_up()
        scene.network.cut(*POSTGRESQL)
        await scene.load.more(WHILE)
        await scene.sent(WHILE)
        scene.strike()
        scene.pair.kill(scene.pair.primary)
        await scene.pair.promote()
        scene.network.heal()  # not before, or the kernel sends what the killed server wrote into its connection
        await resume(scene)
        await scene.load.more(WHILE)
        await scene.sent(WHILE)
        verdict = await scene.finish()
        assert verdict.is_good, verdict
