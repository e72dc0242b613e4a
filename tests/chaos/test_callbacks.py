"""Callbacks while processes die at each step: none is lost, and a receiver knows a repetition by its `webhook-id`."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook

from callback_receiver import CallbackReceiver
from chaos_kit.dials import SEED
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.task.place import Place
from everpost.testing import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores_in_chaos")]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OPTIONS = """
[platforms.callback]
backoff_base_s = 0.05
[platforms.callback.options]
allow_http = true
allow_private = true
"""
OF_THE_POST = ("claim.after", "send.before", "send.accepted", "send.after", "record.before", "record.after")
OF_THE_CALLBACK = ("send.after", "record.before", "commit.before", "commit.after", "record.after", "release.after")


class Receiver(CallbackReceiver):
    """Keeps the bodies of messages by their ids; it can keep a sender waiting for the answer."""

    def __init__(self) -> None:
        self.bodies: dict[str, set[bytes]] = {}
        self.count: Counter[str] = Counter()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def receive(self, first_line: str, headers: dict[str, str], body: bytes) -> bytes:
        Webhook(SECRET).verify(body, headers)
        self.bodies.setdefault(headers["webhook-id"], set()).add(body)
        self.count[headers["webhook-id"]] += 1
        await self.may_answer.wait()
        return b"HTTP/1.1 204 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def has_got(self, prefix: str, times: int = 1) -> None:
        """Wait for messages whose ids begin so."""

        async def has_come() -> bool:
            return sum(count for name, count in self.count.items() if name.startswith(prefix)) >= times

        await eventually(has_come, what=f"{times} messages {prefix}", timeout_s=60)


def scene_of(folder: Path) -> Scene:
    platforms = folder / "platforms.toml"
    platforms.write_text(OPTIONS)
    settings = {"EVERPOST_CALLBACK_SECRET": SECRET, "EVERPOST_PLATFORMS": str(platforms)}
    return Scene(folder, seed=SEED, publisher_class=PublisherClass.KEYED, workers=1, delay_ms=10, settings=settings)


async def post(scene: Scene, path: str, body: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{scene.apis[0].address}/api/v1/{path}", json=body)
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


async def check(scene: Scene, receiver: Receiver) -> None:
    """Every end was told, with one body for each id, and nothing is left to do."""
    await scene.drained()
    ended = {task.task_id: task.status for task in scene.kit.tasks()}
    assert {task.place for task in scene.kit.tasks()} == {Place.HISTORY}
    told = {task_id for task_id in ended if task_id.endswith(".callback")}
    assert {ended[task_id] for task_id in told} == {"success"}
    assert {name.removesuffix(".callback") for name in told} == receiver.bodies.keys()
    posts = {task_id: status for task_id, status in ended.items() if task_id not in told}
    assert {f"{task_id}.{status}.callback" for task_id, status in posts.items()} <= told
    assert {len(bodies) for bodies in receiver.bodies.values()} == {1}
    for name, (body,) in receiver.bodies.items():
        data = msgspec.json.decode(body)["data"]
        assert name.startswith(data.get("task_id") or data["batch_id"])


async def test_a_worker_that_dies_at_any_step_of_a_post_or_its_callback_loses_no_news(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    async with Receiver().serve() as receiver, playing(scene):
        (worker,) = scene.workers
        item = {"platform": 3, "account_id": "a", "callback_url": receiver.url}
        for point in OF_THE_POST:
            worker.arm(point)
            task_id = (await post(scene, "publish", item))["task_id"]
            await worker.reached(point)
            worker.kill()
            await worker.start()
            await receiver.has_got(f"{task_id}.")
        for point in OF_THE_CALLBACK:
            receiver.may_answer.clear()
            batch = await post(scene, "publish/batch", {"tasks": [item], "callback_url": receiver.url})
            await receiver.has_got(f"{batch['results'][0]['task_id']}.")
            worker.arm(point)
            receiver.may_answer.set()
            await worker.reached(point)
            worker.kill()
            await worker.start()
            await receiver.has_got(f"{batch['batch_id']}.1")
        await check(scene, receiver)
