"""Readers of events while everything dies around them: no end is missed silently."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from chaos.test_sentinel_failovers import freeze_master, kill_master_with_lost_writes
from chaos_kit.dials import SEED
from chaos_kit.faults import FEW, WHILE
from chaos_kit.processes import PythonProcess
from chaos_kit.scene import Scene, playing
from chaos_kit.sentinels import Fleet
from event_reader import EVENTS
from everpost.clock import from_text
from everpost.publishing import PublisherClass
from everpost.testing import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores_in_chaos")]

SILENT_S = 40.0
AGAIN_S = 0.05
NEAR_MS = 50  # by which the clocks of database and Redis may seem to differ on a busy machine


class Follower:
    """A client that comes back after every interruption, to any API, with the id of its last event.

    Attributes:
        ended: The tasks of whose end it was told.
        accepted: The tasks of whose acceptance it was told.
        resets: When it was told to look everything up. It sees then what was committed before.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._last_id = ""
        self.ended: set[str] = set()
        self.accepted: set[str] = set()
        self.resets: list[str] = []
        self.returns = 0
        self.is_connected = False

    async def follow(self) -> None:
        while True:
            for address in self._scene.chance.sample(addresses := list(self._scene.addresses()), len(addresses)):
                with suppress(httpx.TransportError):
                    await self._read(address)
                self.returns += 1
            await asyncio.sleep(AGAIN_S)

    async def _read(self, address: str) -> None:
        headers = {"last-event-id": self._last_id} if self._last_id else {}
        async with (
            httpx.AsyncClient(base_url=address, timeout=SILENT_S) as client,
            client.stream("GET", EVENTS, headers=headers) as answer,
        ):
            if answer.status_code != HTTPStatus.OK:
                return
            self.is_connected = True
            kind = ""
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    self._last_id = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    self._take(kind, json.loads(value))

    def _take(self, kind: str, data: dict[str, str]) -> None:
        if kind == "reset":
            self.resets.append(data["at"])
        elif kind == "task.ended":
            self.ended.add(data["task_id"])
        elif kind == "task.accepted":
            self.accepted.add(data["task_id"])


@asynccontextmanager
async def following(scene: Scene, count: int) -> AsyncIterator[list[Follower]]:
    followers = [Follower(scene) for _ in range(count)]
    tasks = [asyncio.create_task(follower.follow()) for follower in followers]

    async def are_connected() -> bool:
        return all(follower.is_connected for follower in followers)

    try:
        await eventually(are_connected, what="all readers")
        yield followers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def all_told(follower: Follower, told: Callable[[], set[str]], times: Mapping[str, str]) -> None:
    """Wait until the reader was told of all tasks, or of a reset after what happened to the others at these times."""

    async def missing() -> list[str]:
        last_ms = max((from_text(at) or 0 for at in follower.resets), default=0)
        return [one for one in times.keys() - told() if (from_text(times[one]) or 0) > last_ms + NEAR_MS]

    async def is_none_missing() -> bool:
        return not await missing()

    try:
        await eventually(is_none_missing)
    except TimeoutError:
        left = await missing()
        raise AssertionError(
            f"{len(left)} were not told, such as {left[0]} at {times[left[0]]}; resets: {follower.resets}"
        ) from None


async def finish(scene: Scene, followers: Sequence[Follower]) -> None:
    verdict = await scene.finish()
    assert verdict.is_good, verdict
    tasks = [task for task in scene.kit.tasks() if task.task_id in scene.load.acked]
    assert len(tasks) > WHILE
    created = {task.task_id: task.created_at or "" for task in tasks}
    ended = {task.task_id: task.completed_at or "" for task in tasks}
    for follower in followers:
        await all_told(follower, lambda one=follower: one.ended, ended)  # type: ignore[misc]
        await all_told(follower, lambda one=follower: one.accepted, created)  # type: ignore[misc]


def scene_of(folder: Path) -> Scene:
    return Scene(folder, seed=SEED, publisher_class=PublisherClass.NONE, apis=2, delay_ms=20, clients=8)


async def crash(scene: Scene, process: PythonProcess, point: str) -> None:
    process.arm(point)
    await process.reached(point)
    process.kill()
    await process.start()
    await scene.load.more(FEW)


async def test_processes_that_die_hide_no_event_and_cause_no_reset(tmp_path: Path) -> None:
    async with playing(scene_of(tmp_path)) as scene, following(scene, 4) as followers:
        scene.load.start()
        await scene.load.more(WHILE)
        for api in scene.apis:
            api.kill()
            await scene.load.more(FEW)
            await api.start()
        for point in ("record.after", "release.before", "release.after"):
            await crash(scene, scene.chance.choice(scene.workers), point)
        await crash(scene, scene.apis[0], "enqueue.before")
        assert not await scene.apis[1].stop()
        await scene.apis[1].start()
        await scene.load.more(FEW)
        await finish(scene, followers)
        assert [follower.resets for follower in followers] == [[]] * len(followers)
        assert all(follower.returns for follower in followers)


async def test_a_redis_that_forgets_dies_or_is_silent_hides_no_event_without_a_reset(tmp_path: Path) -> None:
    async with playing(scene_of(tmp_path)) as scene, following(scene, 4) as followers:
        scene.load.start()
        for _ in range(3):
            await scene.load.more(WHILE)
            await scene.redis.flushall()
            await scene.load.more(FEW)
            scene.valkey.kill()
            await scene.load.more(FEW)
            await scene.valkey.start()
            await scene.load.more(WHILE)
            began = time.monotonic()
            with scene.valkey.frozen():
                while time.monotonic() - began < 3:
                    await scene.load.more(FEW)
            scene.apis[0].kill()
            await scene.apis[0].start()
            scene.valkey.kill()
            await scene.valkey.restart_empty()
            await scene.load.more(WHILE)
        await finish(scene, followers)
        assert all(len(follower.resets) >= 3 for follower in followers)


@pytest.mark.parametrize("fault", [kill_master_with_lost_writes, freeze_master], ids=lambda fault: fault.__name__)
async def test_a_failover_hides_no_event_without_a_reset(
    tmp_path: Path, fault: Callable[[Scene, Fleet], Awaitable[None]]
) -> None:
    fleet = Fleet(tmp_path / "fleet")
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, apis=2, delay_ms=20, clients=8, fleet=fleet)
    async with playing(scene), following(scene, 4) as followers:
        scene.load.start()
        await scene.load.more(WHILE)
        await scene.sent(WHILE)
        await fault(scene, fleet)
        await finish(scene, followers)
        assert all(follower.resets for follower in followers)
