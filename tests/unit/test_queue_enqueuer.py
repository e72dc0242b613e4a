"""The enqueuer: tasks that wait for a slow Redis are sent after it, and never fill the memory."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from everpost.clock import system_clock
from everpost.queue.enqueuer import MOST_HELD, MOST_HELD_BYTES, Enqueuer
from everpost.queue.redis_server import RedisServer
from everpost.task.model import Task
from store_rows import make_task

PARTS = 4  # that the script takes for each task, the id first


class SlowRedis:
    """Takes what it is sent once it is let go."""

    is_away = False

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.gate = asyncio.Event()

    def script_on_own_connection(self, name: str, beginning: str) -> "SlowRedis":
        assert name == "enqueue"
        return self

    def script(self, name: str) -> None:
        assert name == "requeue"  # it is not called here

    async def run(self, _: Sequence[str], arguments: Sequence[Any]) -> list[int]:
        await self.gate.wait()
        task_ids = arguments[1::PARTS]
        self.taken += task_ids
        return [1] * len(task_ids)

    async def ask(self, request: Awaitable[Any]) -> Any:
        return await request


async def send_all(tasks: Sequence[Task]) -> list[str]:
    """The ids of those that reach a slow Redis when it answers at last."""
    redis = SlowRedis()
    enqueuer = Enqueuer(cast("RedisServer", redis), system_clock)
    for task in tasks:
        assert await enqueuer.enqueue_tasks([task]) == [False]
    redis.gate.set()
    await enqueuer.drain()
    return redis.taken


async def test_tasks_after_a_slow_call_follow_it_in_order() -> None:
    tasks = [make_task(f"t{number}") for number in range(5)]
    assert await send_all(tasks) == [task.task_id for task in tasks]


async def test_no_more_tasks_are_held_than_allowed_and_the_relay_brings_the_others() -> None:
    tasks = [make_task(f"t{number}") for number in range(MOST_HELD + 100)]
    assert len(await send_all(tasks)) == 1 + MOST_HELD


async def test_large_tasks_are_held_up_to_so_many_bytes() -> None:
    data = b'{"title":"' + b"x" * 1_000_000 + b'"}'
    tasks = [make_task(f"t{number}", task_data=data) for number in range(100)]
    assert len(await send_all(tasks)) == 1 + MOST_HELD_BYTES // len(data)
