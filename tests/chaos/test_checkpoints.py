"""Workers die, freeze and stop around checkpoints: none that was saved is lost, no overtaken attempt goes on."""

from pathlib import Path

import pytest

from chaos_kit.checks import read_effects
from chaos_kit.dials import SEED
from chaos_kit.effects_worker import forgotten_of
from chaos_kit.faults import crash_worker, do
from chaos_kit.scene import Scene, playing
from chaos_kit.takeover import be_overtaken
from everpost.publishing import PublisherClass

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores")]

SAVING = {"CHECKPOINTS": "1"}
POINTS = ["checkpoint.before", "commit.before", "commit.after", "checkpoint.after", "send.amid"]
OTHERS = ["kill_worker", "freeze_worker", "stop_worker", "flush_valkey"]


@pytest.mark.parametrize("publisher_class", PublisherClass)
async def test_crashes_around_checkpoints_lose_none_that_was_saved(
    tmp_path: Path, publisher_class: PublisherClass
) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=publisher_class, clients=6, settings=SAVING)
    async with playing(scene):
        scene.load.start()
        for point in POINTS:
            await crash_worker(scene, point)
        for name in OTHERS:
            await do(scene, name)
        verdict = await scene.finish()
    assert verdict.is_good, verdict
    assert not forgotten_of(scene.effects).exists()


async def test_a_worker_that_froze_stops_at_its_next_checkpoint(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, most=1, clients=1, settings=SAVING)
    async with playing(scene):
        await be_overtaken(scene, lambda worker: worker.frozen(), point="checkpoint.before", says="checkpoint.refused")
        verdict = await scene.finish()
    assert verdict.is_good, verdict
    assert (verdict.unknown, read_effects(scene.effects)) == (1, [])
