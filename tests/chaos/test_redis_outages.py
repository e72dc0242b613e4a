"""Redis in every kind of trouble: tasks are accepted at once, and each is published once in the end."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from http import HTTPStatus
from pathlib import Path
from statistics import median

import httpx
import pytest

from chaos_kit.redis_faults import REDIS_FAULTS, WHILE, accept_meanwhile
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

CLIENTS = 4  # so few that they do not wait for each other
FAST_S = 0.05
MACHINE = 4  # a busy machine alone may make answers so many times slower
HICCUPS = 2 * CLIENTS  # the number of answers that may take longer
ONE_OF_EACH = ("black_hole", "fill_memory")
"""One fault in which Redis is silent, and one in which it refuses. `make chaos` runs the others."""


def scene_of(folder: Path) -> Scene:
    return Scene(folder, seed=5, publisher_class=PublisherClass.NONE, clients=CLIENTS, delay_ms=20, is_proxied=True)


async def finish(scene: Scene, calm_s: Sequence[float] = (0.0,)) -> None:
    """Every accepted task is published once, and no client waited for Redis.

    `calm_s`: how long answers took without any trouble.
    """
    verdict = await scene.finish()
    assert verdict.is_good, verdict
    assert verdict.unknown == 0
    assert len(scene.waits_s) >= WHILE
    assert median(scene.waits_s) <= max(FAST_S, MACHINE * median(calm_s))
    longest_s = max(MACHINE * FAST_S, MACHINE * max(calm_s))
    assert sum(wait_s > longest_s for wait_s in scene.waits_s) <= HICCUPS


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ONE_OF_EACH else pytest.mark.chaos) for name in REDIS_FAULTS]
)
async def test_redis_in_trouble_delays_no_client_and_nothing_is_lost_or_sent_twice(tmp_path: Path, name: str) -> None:
    async with playing(scene_of(tmp_path)) as scene:
        scene.load.start()
        with scene.load.timed() as calm_s:
            await scene.load.more(WHILE)
        await REDIS_FAULTS[name](scene)
        await finish(scene, calm_s)


@pytest.mark.parametrize(
    "is_frozen", [pytest.param(False, id="down"), pytest.param(True, id="frozen", marks=pytest.mark.chaos)]
)
async def test_an_api_and_workers_start_without_redis(tmp_path: Path, *, is_frozen: bool) -> None:
    async with playing(scene_of(tmp_path), is_running=False) as scene:
        if is_frozen:
            await scene.valkey.start()
        with scene.valkey.frozen() if is_frozen else nullcontext():
            await asyncio.gather(*(process.start() for process in (*scene.apis, *scene.workers)))
            scene.load.start()
            await accept_meanwhile(scene)
            async with httpx.AsyncClient(base_url=scene.addresses()[0]) as client:
                answer = await client.get("/health/ready")
            assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert {check["name"]: check["ok"] for check in answer.json()["checks"]}["redis"] is False
        await finish(scene, calm_s=(FAST_S,))  # processes are still starting, so no calm time was measured
