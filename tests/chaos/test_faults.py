"""Kill, stop and empty everything under load: what was acknowledged is recorded, and nothing is published twice."""

import os
import time
from pathlib import Path

import pytest
from chaos_kit.faults import FAULTS, do
from chaos_kit.scene import Scene, playing

from workers.publishers.base import PublisherClass

SEED = int(os.environ.get("EVERPOST_CHAOS_SEED") or 20_260)
FEW = ["kill_worker", "stop_worker", "kill_valkey", "flush_valkey"]
SECONDS = float(os.environ.get("EVERPOST_CHAOS_SECONDS") or 60)


@pytest.mark.parametrize(
    "faults",
    [
        ("kill_api", "kill_api_amid_accepts", "stop_api"),
        ("kill_worker", "kill_worker_amid_records", "stop_worker"),
        ("kill_valkey", "flush_valkey", "replace_valkey"),
    ],
    ids=["api", "workers", "valkey"],
)
async def test_nothing_is_lost_or_sent_twice_when_the_platform_declares_nothing(
    tmp_path: Path, faults: tuple[str, ...]
) -> None:
    async with playing(Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE)) as scene:
        scene.load.start()
        for name in scene.chance.sample(faults, len(faults)):
            await do(scene, name)
        verdict = await scene.finish()
        assert verdict.is_good, verdict


@pytest.mark.parametrize("publisher_class", [PublisherClass.KEYED, PublisherClass.CHECKABLE])
async def test_everything_is_sent_when_the_platform_takes_a_key_or_can_be_asked(
    tmp_path: Path, publisher_class: PublisherClass
) -> None:
    async with playing(Scene(tmp_path, seed=SEED, publisher_class=publisher_class)) as scene:
        scene.load.start()
        for name in scene.chance.sample(FEW, len(FEW)):
            await do(scene, name)
        verdict = await scene.finish()
        assert verdict.is_good, verdict
        assert verdict.unknown == 0


@pytest.mark.chaos
@pytest.mark.parametrize("publisher_class", PublisherClass)
async def test_a_long_run_of_faults_at_random(tmp_path: Path, publisher_class: PublisherClass) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=publisher_class, apis=2, workers=3, most=100_000)
    async with playing(scene):
        scene.load.start()
        ends_at = time.monotonic() + SECONDS / len(PublisherClass)
        while time.monotonic() < ends_at:
            await do(scene, scene.chance.choice(sorted(FAULTS)))
        verdict = await scene.finish()
        assert verdict.is_good, verdict
