"""The fast path, flooded by 64 clients while its workers are killed: everything acknowledged ends once."""

import math
from pathlib import Path

import pytest

from chaos_kit.dials import SECONDS
from chaos_kit.faults import do
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

CLIENTS = 64
SLOTS = 100
KILLS = 1
MORE = 200  # answers between two kills


@pytest.mark.parametrize(
    ("kills", "publisher_class"),
    [
        pytest.param(KILLS, PublisherClass.KEYED, id="short"),
        pytest.param(round(SECONDS / 2), PublisherClass.KEYED, id="long", marks=pytest.mark.chaos),
        pytest.param(round(SECONDS / 2), PublisherClass.NONE, id="long-none", marks=pytest.mark.chaos),
    ],
)
async def test_a_flood_loses_and_repeats_nothing_while_workers_are_killed(
    tmp_path: Path, kills: int, publisher_class: PublisherClass
) -> None:
    scene = Scene(
        tmp_path,
        seed=64,
        publisher_class=publisher_class,
        apis=1,
        workers=2,
        slots=SLOTS,
        delay_ms=0,
        clients=CLIENTS,
        rate=math.inf,
    )
    async with playing(scene):
        scene.load.start()
        for _ in range(kills):
            await scene.load.more(MORE)
            await do(scene, "kill_worker")
        verdict = await scene.finish()
        assert verdict.is_good, verdict
        assert len(scene.load.acked) >= MORE * kills
