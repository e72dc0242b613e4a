"""Kill, stop and empty everything under load: acknowledged posts are recorded, and nothing is published twice."""

import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import stores
from chaos_kit.dials import SECONDS, SEED
from chaos_kit.duress import small_disk
from chaos_kit.faults import FAULTS, do
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

FEW = ["kill_worker", "stop_worker", "kill_valkey", "flush_valkey"]
RATE = 400  # posts a second; two of three workers can do more
DISK_BYTES = 1 << 30


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(("kill_api", "kill_api_amid_accepts", "stop_api"), id="api", marks=pytest.mark.chaos),
        pytest.param(("kill_worker_amid_records", "freeze_worker", "stop_worker"), id="workers"),
        pytest.param(("kill_valkey", "flush_valkey", "replace_valkey"), id="valkey", marks=pytest.mark.chaos),
    ],
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


@pytest.mark.chaos
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
async def test_a_short_run_of_faults_at_random(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, apis=2, workers=2, is_proxied=True)
    async with playing(scene):
        scene.load.start()
        for name in ["freeze_worker", *scene.chance.sample(sorted(FAULTS), 2)]:
            await do(scene, name)
        verdict = await scene.finish()
        assert verdict.is_good, verdict
        assert verdict.recovered


@pytest.mark.chaos
@pytest.mark.parametrize("publisher_class", PublisherClass)
async def test_a_long_run_of_faults_at_random(tmp_path: Path, publisher_class: PublisherClass) -> None:
    sys.stdout.write(f"\n{publisher_class}: EVERPOST_CHAOS_SEED={SEED}\n")
    with own_disk(tmp_path / "disk", DISK_BYTES) as disk:
        scene = Scene(
            tmp_path,
            seed=SEED,
            publisher_class=publisher_class,
            apis=2,
            workers=3,
            rate=RATE,
            is_proxied=True,
            database=stores.chosen or str(disk / "e.db"),
        )
        async with playing(scene):
            scene.load.start()
            ends_at = time.monotonic() + SECONDS
            for name in dealt_to(publisher_class):
                await do(scene, name)
                if time.monotonic() > ends_at:
                    break
            verdict = await scene.finish()
            assert verdict.is_good, verdict


def dealt_to(publisher_class: PublisherClass) -> Iterator[str]:
    """Faults in an order the seed chooses; the classes share them, and none comes again before all were dealt."""
    chance = random.Random(SEED)
    classes = list(PublisherClass)
    while True:
        yield from chance.sample(sorted(FAULTS), len(FAULTS))[classes.index(publisher_class) :: len(classes)]


@contextmanager
def own_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """`small_disk` where one can be mounted, and else an ordinary folder."""
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(folder, size_bytes))
        except pytest.skip.Exception as reason:
            sys.stdout.write(f"The disk will not be filled: {reason}\n")
        yield folder
