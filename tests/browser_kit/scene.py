"""A running Everpost for the browser: API, worker, platforms that fail on request, and posts as a team makes them."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from everpost.app import create_server
from everpost.publishing import AuthError, InvalidError, PublishJob, TransientError
from everpost.store.timeline import BUCKETS, Counts
from everpost.testing import Stack, everpost_stack

Answer = TypeVar("Answer")

TITLES = (
    "秋季新品开箱 三款耳机对比",
    "How we film in the rain",
    "十分钟学会做葱油面",
    "Behind the scenes: the night market",
    "城市骑行路线推荐 第七期",
    "A week with the new lens",
    "周末去哪儿 杭州的三条小路",
    "Q&A: your questions about sound",
)
ACCOUNTS = ("studio", "shop_north", "travel", "kitchen")


class Scene:
    """A stack that a browser reaches.

    Attributes:
        address: The console's address.
        stack: Its parts; they belong to the event loop of another thread, see `run`.
        client: An HTTP client of the API.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stack: Stack, address: str) -> None:
        self._loop = loop
        self.stack = stack
        self.address = address
        headers = {"authorization": f"Bearer {stack.settings.token}"} if stack.settings.token else {}
        self.client = httpx.Client(base_url=address, timeout=30, headers=headers)

    def run(self, work: Coroutine[Any, Any, Answer], within_s: float = 60) -> Answer:
        """Run a coroutine in the stack's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within_s)

    def call(self, function: Callable[[], Any]) -> None:
        """Call a function in the stack's loop."""

        async def work() -> None:
            function()

        self.run(work())

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def publish(self, **fields: Any) -> str:
        task = {"platform": "douyin", "account_id": "studio", "title": TITLES[0], **fields}
        return str(self.post("/api/v1/publish", task)["task_id"])

    def wait_for(self, task_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1/tasks/{task_id}", params={"wait": 20})
        found: dict[str, Any] = answer.json()["data"]
        return found


@contextmanager
def running_scene(folder: Path, **settings: Any) -> Iterator[Scene]:
    """Run a scene in a thread of its own: Playwright's calls block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opened = _opened(folder, settings)
    try:
        stack, address = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(60)
        scene = Scene(loop, stack, address)
        with scene.client:
            yield scene
    finally:
        asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def _opened(folder: Path, settings: dict[str, Any]) -> AsyncIterator[tuple[Stack, str]]:
    patient = {"lease": 15.0, **settings}  # a browser takes much of a small machine
    async with everpost_stack(folder=folder, **patient) as stack:
        _ = stack.valkey  # asked for, it is not lent to another stack: it ends with the thread that has started it
        server = create_server(stack.settings)
        try:
            yield stack, await server.start()
        finally:
            await server.stop()


async def fill_timeline(stack: Stack) -> None:
    """A day before this hour, as charts show it: busy by day, slower when much ends."""
    now_s = int(time.time())
    sums = Counts(ends={"success": 1}, waits=[0] * BUCKETS, attempts=[0] * BUCKETS)
    for ago in (*range(95, 3, -1), *(minute / 15 for minute in range(60, 0, -1))):
        much = (1.2 + math.sin(ago / 9) + 0.5 * math.sin(ago * 1.7)) * (15 if ago > 4 else 1)
        ends = max(1, round(9 * much))
        failed = round(much * (2 if 20 < ago < 30 else 0.4))
        sums = Counts(
            ends={
                name: sums.ends.get(name, 0) + number
                for name, number in (("success", ends), ("failed", failed), ("unknown", round(much / 9)))
            },
            waits=_more(sums.waits, 2 + round(much / 8), ends),
            attempts=_more(sums.attempts, 6 + round(much / 9), ends),
        )
        await stack.store.timeline.add(sums, now_s - round(ago * 900))


def _more(sums: Sequence[int], middle: int, number: int) -> list[int]:
    """The sums with so many times around a bucket."""
    shares = {middle - 1: 0.3, middle: 0.5, middle + 1: 0.17, middle + 2: 0.03}
    return [old + math.ceil(number * shares.get(place, 0)) for place, old in enumerate(sums)]


def fill(scene: Scene) -> None:
    """Posts in every state, as a team has them on an ordinary day with some trouble."""
    scene.run(fill_timeline(scene.stack))
    scene.call(lambda: scene.stack.publisher.fail_when(_error_of))
    ended = [
        scene.publish(platform=platform, account_id=account, title=title)
        for platform, account, title in zip(
            ("douyin", "bilibili", "xiaohongshu", "douyin") * 8, ACCOUNTS * 8, TITLES * 4, strict=True
        )
    ]
    ended += [
        scene.publish(platform="bilibili", account_id="travel", title=f"Episode {n}: cut {n * 37}") for n in range(9)
    ]
    ended += [
        scene.publish(platform="xiaohongshu", account_id="shop_north", title=f"新品 {n} 超长标题") for n in range(5)
    ]
    for task_id in ended:
        scene.wait_for(task_id)
    scene.call(lambda: scene.stack.publisher.lose_next_answer(2))
    for account in ACCOUNTS[:2]:
        scene.wait_for(scene.publish(account_id=account, title="Live at nine: the answer got lost"))
    scene.post(
        "/api/v1/limits/pause", {"platform": "xiaohongshu", "reason": "Their API is down since noon.", "by": "mei"}
    )
    for n in range(6):
        scene.publish(account_id=ACCOUNTS[n % 4], title=TITLES[n], schedule_time=f"2030-01-0{n + 1}T09:00:00Z")
    scene.publish(platform="xiaohongshu", account_id="kitchen", title="Waits for the pause")
    scene.publish(platform="xiaohongshu", account_id="shop_north", title="也在等")
    scene.call(scene.stack.publisher.hold)
    for n in range(4):
        scene.publish(platform=("douyin", "bilibili")[n % 2], account_id=ACCOUNTS[n], title=TITLES[n + 3])


def _error_of(job: PublishJob) -> Exception | None:
    title = str(job.data.get("title", ""))
    if title.startswith("Episode"):
        return AuthError(f"The cookies of the account expired at 2026-11-0{len(title) % 9 + 1}T10:00:00Z.")
    if "超长" in title:
        return InvalidError("The platform takes at most 20 characters; these are 24.")
    return TransientError("503 from up-3.example.test") if title == "never" else None
