"""Processes as on several hosts: their clocks differ by minutes, the leader of the upkeep dies, a host is cut off."""

import os
from pathlib import Path

import httpx
import pytest

import stores
from chaos_kit.load import HANG_S
from chaos_kit.scene import Scene, playing
from everpost.clock import from_text, system_clock, to_text
from everpost.publishing import PublisherClass

SEED = int(os.environ.get("EVERPOST_CHAOS_SEED") or 20_260)
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
