"""Processes as on several hosts: their clocks differ by minutes, the leader of the upkeep dies, a host is cut off."""

import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

import stores
from chaos_kit.dials import SEED
from chaos_kit.faults import frozen_between_writes
from chaos_kit.links import LinkedScene, playing_linked
from chaos_kit.load import HANG_S
from chaos_kit.processes import Worker
from chaos_kit.readiness import check_of, clocks_told, says
from chaos_kit.scene import Scene, playing
from everpost.clock import from_text, system_clock, to_text
from everpost.publishing import PublisherClass
from everpost.testing import eventually
from everpost_workers.upkeep.leadership import BEAT_S, LOST_S

NEAR_MS = 5_000  # a busy machine takes so long
CLOCKS_S = {"api0": 300.0, "api1": -300.0, "worker0": -280.0, "worker1": 120.0, "worker2": 0.0}


async def good_end(scene: Scene) -> None:
    verdict = await scene.finish()
    assert verdict.is_good, verdict


async def hosts_with_other_clocks(folder: Path, *, apis: int, most: int, are_shared: bool) -> None:
    """Run tasks; if the hosts share a clock, that of the database, times are right and tasks in time too."""
    scene = Scene(folder, seed=SEED, publisher_class=PublisherClass.NONE, apis=apis, delay_ms=20, most=most)
    for process in (*scene.apis, *scene.workers):
        process.move_to_host(CLOCKS_S[process.name])
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S) as client:
        scene.load.start()
        await scene.load.more(30)
        await scene.redis.flushall()
        due_ms = system_clock() + 1_500
        task_id = await scene.load.post(client, scene.chance, schedule_time=to_text(due_ms))
        for address in scene.addresses():
            task = (await client.get(f"{address}/api/v1/tasks/{task_id}", params={"wait": 20})).json()["data"]
            assert task["status"] == "success"
        if are_shared:
            assert due_ms <= (from_text(task["started_at"]) or 0) < due_ms + NEAR_MS
            assert abs((from_text(task["completed_at"]) or 0) - system_clock()) < NEAR_MS
            await clocks_are_told(scene)
        await scene.load.more(30)
        await good_end(scene)


async def test_hosts_whose_clocks_differ_by_minutes_run_tasks_in_time_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stores.empty_store("postgresql", tmp_path) as address:
        monkeypatch.setattr(stores, "chosen", address)
        await hosts_with_other_clocks(tmp_path, apis=1, most=100, are_shared=True)


@pytest.mark.chaos
@pytest.mark.usefixtures("both_stores")
async def test_under_load_too_nothing_is_lost_or_sent_twice_by_hosts_with_other_clocks(tmp_path: Path) -> None:
    is_shared = stores.chosen is not None  # processes that share a file share a host, whose clock cannot differ
    await hosts_with_other_clocks(tmp_path, apis=2, most=2_000, are_shared=is_shared)


async def clocks_are_told(scene: Scene) -> None:
    """Readiness tells the clock of the API's host, and `doctor` those of the workers' hosts."""
    await says(scene, "database", "This host's clock is 300 s ahead of the database's.", ok=True)
    workers = {"workers: 280 s behind the database's", "workers: 120 s ahead of the database's"}
    assert set(await clocks_told(scene)) == {"Redis: as this host's", *workers}


async def leader(scene: Scene, *, but: Worker | None = None, since: Mapping[str, int] | None = None) -> Worker:
    """The worker that has said last that it leads the upkeep."""

    async def find() -> list[Worker]:
        return [
            worker
            for worker in scene.workers
            if worker is not but and b'"upkeep.leads"' in worker.said_since(since[worker.name] if since else 0)
        ]

    (found,) = await eventually(find, timeout_s=2 * LOST_S + 10, what="a leader")
    return found


async def is_relaying(scene: Scene) -> None:
    """Tasks that Redis lost go back."""
    await scene.redis.flushall()
    await scene.load.more(10)
    await scene.ended()


@pytest.mark.chaos
@pytest.mark.usefixtures("both_stores")
async def test_a_leader_that_is_killed_or_frozen_is_replaced_and_does_no_harm_when_it_wakes(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, apis=2, workers=3, rate=40)
    async with playing(scene):
        scene.load.start()
        first = await leader(scene)
        before = scene.logged()
        scene.strike()
        first.kill()
        killed_at = time.monotonic()
        second = await leader(scene, but=first, since=before)
        assert time.monotonic() - killed_at < LOST_S + 2 * BEAT_S + NEAR_MS / 1000
        await is_relaying(scene)
        before = scene.logged()
        with frozen_between_writes(scene, second):
            third = await leader(scene, but=first, since=before)
            assert third is not second
            await is_relaying(scene)
        await is_relaying(scene)
        assert b'"upkeep.leads"' not in second.said_since(before[second.name])
        await good_end(scene)


@pytest.mark.chaos
async def test_readiness_names_the_party_that_a_host_cannot_reach(tmp_path: Path) -> None:
    with stores.empty_store("postgresql", tmp_path) as database:
        scene = LinkedScene(tmp_path, database=database, seed=SEED, publisher_class=PublisherClass.NONE, rate=40)
        async with playing_linked(scene):
            scene.load.start()
            await scene.load.more(10)
            (api,), (worker, _) = scene.apis, scene.workers
            to_database, to_redis = scene.links[api.name]
            with scene.cut(to_database):
                await says(scene, "database", "", ok=False)
                assert (await check_of(scene, "redis"))["ok"]
            with scene.cut(to_redis):
                await says(scene, "redis", "", ok=False)
                await says(scene, "database", "", ok=True)
            to_database, to_redis = scene.links[worker.name]
            with scene.cut(to_database):
                await says(scene, "worker", "The database does not answer", ok=True)
                await says(scene, "worker", "2 alive, 1 consuming", ok=True)
                await scene.sent(10)
            await says(scene, "worker", "2 alive, 2 consuming", ok=True)
            with scene.cut(to_redis):
                await says(scene, "worker", "1 alive, 1 consuming", ok=True)
                await scene.sent(10)
            await good_end(scene)
