"""Accounts that their platform refuses, while all workers are killed and Redis is emptied: tasks wait, and end once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from chaos_kit.dials import SEED
from chaos_kit.effects_worker import Effect, refusal_of
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.testing import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores")]

STUDIO = {"platform": "douyin", "account_id": "studio"}
ROUTE = "/api/v1/accounts/douyin/studio"
RECOVERS_S = 60.0  # leases, and what an emptied Redis is told


class Client:
    """A client of the scene's API, with a registered account."""

    def __init__(self, scene: Scene, http: httpx.AsyncClient) -> None:
        self.scene = scene
        self.http = http

    async def register(self) -> None:
        (await self.http.post("/api/v1/accounts", json=STUDIO)).raise_for_status()

    async def publish(self, count: int) -> list[str]:
        answers = [await self.http.post("/api/v1/publish", json=STUDIO) for _ in range(count)]
        return [str(answer.json()["task_id"]) for answer in answers]

    async def tasks(self, task_ids: Sequence[str]) -> list[dict[str, Any]]:
        return [(await self.http.get(f"/api/v1/tasks/{task_id}")).json()["data"] for task_id in task_ids]

    async def come_to(self, task_ids: Sequence[str], is_there: Callable[[dict[str, Any]], bool], what: str) -> None:
        async def are_all() -> bool:
            return all(is_there(task) for task in await self.tasks(task_ids))

        await eventually(are_all, what=what, timeout_s=RECOVERS_S)

    async def pause(self) -> None:
        (await self.http.post(f"{ROUTE}/pause", json={"reason": "wait"})).raise_for_status()

    async def resume(self) -> None:
        (await self.http.post(f"{ROUTE}/resume")).raise_for_status()

    async def kill_all_workers(self) -> None:
        for worker in self.scene.workers:
            worker.kill()
        await asyncio.gather(*(worker.start() for worker in self.scene.workers))

    def effects(self) -> Counter[str]:
        lines = self.scene.effects.read_bytes().splitlines()
        return Counter(msgspec.json.decode(line, type=Effect).task_id for line in lines)


def waits(kind: str) -> Callable[[dict[str, Any]], bool]:
    return lambda task: (task["waits_for"] or {}).get("kind") == kind


def made(tmp_path: Path) -> Scene:
    return Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.KEYED, clients=1)


@pytest.mark.parametrize("error_class", ["auth", "needs_person"])
async def test_tasks_of_a_held_account_wait_through_kills_and_a_flush_and_each_is_published_once(
    tmp_path: Path, error_class: str
) -> None:
    scene = made(tmp_path)
    async with playing(scene), httpx.AsyncClient(base_url=scene.addresses()[0], timeout=60) as http:
        client = Client(scene, http)
        await client.register()
        await client.kill_all_workers()  # they know the account when they have started
        refusal_of(scene.effects).write_text(error_class)
        first = await client.publish(5)
        await client.come_to(first, waits("held"), "the first tasks to wait")
        await client.kill_all_workers()
        second = await client.publish(5)
        await client.come_to([*first, *second], waits("held"), "all tasks to wait after the kill")
        await scene.redis.flushall()
        await client.come_to([*first, *second], waits("held"), "all tasks to wait after the flush")
        assert {task["attempts_spent"] or 0 for task in await client.tasks([*first, *second])} == {0}
        assert client.effects() == {}
        refusal_of(scene.effects).unlink()
        await client.resume()
        await client.kill_all_workers()
        await client.come_to([*first, *second], lambda task: bool(task["status"] == "success"), "all tasks to end")
        assert client.effects() == dict.fromkeys([*first, *second], 1)


async def test_a_blocked_account_ends_what_waits_although_its_workers_are_killed(tmp_path: Path) -> None:
    scene = made(tmp_path)
    async with playing(scene), httpx.AsyncClient(base_url=scene.addresses()[0], timeout=60) as http:
        client = Client(scene, http)
        await client.register()
        await client.pause()
        await client.kill_all_workers()
        waiting = await client.publish(10)
        await client.come_to(waiting, waits("paused"), "all tasks to wait")
        refusal_of(scene.effects).write_text("account_blocked")
        await client.resume()
        await client.kill_all_workers()
        await client.come_to(waiting, lambda task: task["status"] in {"failed", "unknown"}, "all tasks to end")
        for task in await client.tasks(waiting):  # an attempt that was killed while it sent may have posted
            assert task["error_class"] == ("account_blocked" if task["status"] == "failed" else "unknown")
        assert (await http.get(ROUTE)).json()["data"]["status"] == "blocked"
        assert client.effects() == {}
