"""A fleet on hosts of its own, whose network and servers fail: nothing acknowledged is lost, nothing is sent twice."""

import os
from pathlib import Path

import pytest

from chaos_kit.fleet.scene import FleetScene, playing_fleet

pytestmark = pytest.mark.chaos

SEED = int(os.environ.get("EVERPOST_CHAOS_SEED") or 20_260)
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
        await scene.load.more(FEW)
        await scene.sent(FEW)
        scene.network.heal()
        verdict = await scene.finish()
        assert verdict.is_good, verdict
        assert verdict.recovered
