"""Sentinels with their usual periods replace the master under load: killed, frozen, on request, with lost writes."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chaos_kit.dials import SEED
from chaos_kit.faults import WHILE
from chaos_kit.scene import Scene, playing
from chaos_kit.sentinels import Fleet
from everpost.publishing import PublisherClass
from everpost.testing import eventually

ROUNDS = 1
DISPATCH_S = 10.0  # from the promotion to the next effects

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores_in_chaos")]


async def dispatch_goes_on(scene: Scene) -> None:
    async with asyncio.timeout(DISPATCH_S):
        await scene.sent(1)
    await scene.sent(WHILE)


async def kill_master(scene: Scene, fleet: Fleet) -> None:
    """Kill -9 of the master."""
    old = await fleet.master()
    scene.strike()
    old.kill()
    await fleet.other_master(old)
    await dispatch_goes_on(scene)
    await fleet.start()


async def kill_master_with_lost_writes(scene: Scene, fleet: Fleet) -> None:
    """The same, after a while in which the replica got nothing."""
    old = await fleet.master()
    async with fleet.without_replication():
        await scene.load.more(WHILE)
        await scene.sent(WHILE)
        scene.strike()
        old.kill()
    await fleet.other_master(old)
    await dispatch_goes_on(scene)
    await fleet.start()


async def freeze_master(scene: Scene, fleet: Fleet) -> None:
    """SIGSTOP of the master until another has its place; then it wakes up as a second master."""
    old = await fleet.master()
    with old.frozen():
        scene.strike()
        await fleet.other_master(old)
        await dispatch_goes_on(scene)
    await scene.sent(WHILE)
    await fleet.is_whole()


async def ask_for_failover(scene: Scene, fleet: Fleet) -> None:
    """`SENTINEL FAILOVER`; the old master goes on as a master for a while."""
    scene.strike()
    old = await fleet.master()
    await fleet.fail_over()
    await dispatch_goes_on(scene)

    async def is_left() -> bool:
        return not await old.clients()

    await eventually(is_left, timeout_s=5, what="the end of all connections to the old master")
    await fleet.is_whole()


FAULTS: list[Callable[[Scene, Fleet], Awaitable[None]]] = [
    kill_master,
    kill_master_with_lost_writes,
    freeze_master,
    ask_for_failover,
]


async def test_failovers_under_load_lose_and_repeat_nothing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet", is_quick=False)
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, clients=6, fleet=fleet)
    async with playing(scene):
        scene.load.start()
        faults = FAULTS * ROUNDS
        random.Random(SEED).shuffle(faults)
        for fault in faults:
            await scene.load.more(WHILE)
            scene.faults[fault.__name__] += 1
            await fault(scene, fleet)
        verdict = await scene.finish()
        assert verdict.is_good, verdict


async def test_an_api_and_workers_start_before_the_sentinels(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet")
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, fleet=fleet)
    async with playing(scene, is_running=False):
        await asyncio.gather(*(process.start() for process in (*scene.apis, *scene.workers)))
        scene.load.start()
        await scene.load.more(WHILE)
        await fleet.start()
        await scene.sent(WHILE)
        verdict = await scene.finish()
        assert verdict.is_good, verdict
