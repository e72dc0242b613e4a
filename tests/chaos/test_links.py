"""Processes of a fleet lose their links to PostgreSQL and Valkey, one after the other; `make chaos-fleet` does more."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chaos_kit.checks import Verdict
from chaos_kit.dials import SEED
from chaos_kit.links import LinkedScene, playing_linked
from chaos_kit.takeover import be_overtaken
from everpost.publishing import PublisherClass
from stores import empty_store

WHILE = 20  # posts or effects before and after a fault
FEW = 3  # meanwhile
RATE = 40  # posts a second

Fault = Callable[[LinkedScene], Awaitable[None]]


async def cut_api_from_postgresql(scene: LinkedScene) -> None:
    api = scene.chance.choice(scene.apis)
    before = scene.logged()
    with scene.cut(scene.links[api.name][0]):
        await scene.said("database.primary_lost", [api], before)
        await scene.load.refused(1)


async def cut_worker_from_postgresql(scene: LinkedScene) -> None:
    worker = scene.chance.choice(scene.workers)
    before = scene.logged()
    with scene.cut(scene.links[worker.name][0]):
        await scene.said("database.primary_lost", [worker], before)
        await scene.sent(FEW)


async def cut_worker_from_valkey(scene: LinkedScene) -> None:
    """Others take its tasks over, since its leases run out; then it hears of it."""
    worker = scene.chance.choice(scene.workers)
    with scene.cut(scene.links[worker.name][1]):
        await scene.ended()
    await scene.sent(FEW)


async def cut_worker_from_both(scene: LinkedScene) -> None:
    worker = scene.chance.choice(scene.workers)
    with scene.cut(*scene.links[worker.name]):
        await scene.ended()
    await scene.sent(FEW)


FAULTS: list[Fault] = [
    cut_api_from_postgresql,
    cut_worker_from_postgresql,
    cut_worker_from_valkey,
    cut_worker_from_both,
]


@asynccontextmanager
async def playing_on_postgresql(folder: Path, **options: Any) -> AsyncIterator[LinkedScene]:
    """The scene with everything running, on a database of its own."""
    with empty_store("postgresql", folder) as database:
        scene = LinkedScene(folder, database=database, seed=SEED, publisher_class=PublisherClass.NONE, **options)
        async with playing_linked(scene):
            yield scene


async def play(folder: Path, *steps: Sequence[Fault]) -> Verdict:
    """Carry out the steps under load; the faults of a step come together."""
    async with playing_on_postgresql(folder, apis=2, rate=RATE, clients=8) as scene:
        scene.load.start()
        for faults in steps:
            await scene.sent(WHILE)
            scene.strike()
            scene.faults.update(fault.__name__ for fault in faults)
            await asyncio.gather(*(fault(scene) for fault in faults))
        return await scene.finish()


async def test_an_api_and_a_worker_that_are_cut_off_lose_and_repeat_nothing(tmp_path: Path) -> None:
    verdict = await play(tmp_path, [cut_api_from_postgresql, cut_worker_from_both])
    assert verdict.is_good, verdict
    assert verdict.recovered


@pytest.mark.chaos
async def test_processes_that_are_cut_off_one_after_the_other_lose_and_repeat_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    verdict = await play(tmp_path, *([fault] for fault in chance.sample(FAULTS, len(FAULTS))))
    assert verdict.is_good, verdict
    assert verdict.recovered


async def play_takeover(folder: Path, *, sends: bool = False, **options: Any) -> Verdict:
    """A worker is cut off, and another one takes its task over."""
    async with playing_on_postgresql(folder, most=1, clients=1, **options) as scene:
        await be_overtaken(scene, lambda worker: scene.cut(*scene.links[worker.name]), sends=sends)
        return await scene.finish()


@pytest.mark.chaos
async def test_a_worker_that_was_cut_off_and_one_that_took_its_task_over_send_once(tmp_path: Path) -> None:
    verdict = await play_takeover(tmp_path)
    assert verdict.is_good, verdict


@pytest.mark.chaos
async def test_a_worker_whose_lease_ended_sends_nothing_even_if_it_could_not_know_of_another(tmp_path: Path) -> None:
    verdict = await play_takeover(tmp_path, without="intents")
    assert not verdict.duplicated, verdict


async def test_without_fencing_both_workers_send(tmp_path: Path) -> None:
    verdict = await play_takeover(tmp_path, without="fencing", sends=True)
    assert len(verdict.duplicated) == 1, verdict
