"""The impatient sender: what waits for a slow Redis is sent behind it, and never fills the memory."""

import asyncio
from collections.abc import Sequence

from everpost.queue.sender import MOST_HELD, MOST_HELD_BYTES, ImpatientSender
from everpost.task.model import Task
from store_rows import make_task


class SlowRedis:
    """Takes what it is sent once it is let go."""

    def __init__(self) -> None:
        self.taken: list[Task] = []
        self.gate = asyncio.Event()

    async def put(self, tasks: Sequence[Task]) -> list[bool]:
        await self.gate.wait()
        self.taken += tasks
        return [True] * len(tasks)


async def send_all(tasks: Sequence[Task]) -> list[str]:
    """The ids of those that reach a slow Redis when it answers at last."""
    redis = SlowRedis()
    sender = ImpatientSender(redis.put)
    for task in tasks:
        assert await sender.send([task], redis.put) == [False]
    redis.gate.set()
    await sender.drain()
    return [task.task_id for task in redis.taken]


async def test_what_comes_in_behind_a_slow_call_follows_it_in_order() -> None:
    tasks = [make_task(f"t{number}") for number in range(5)]
    assert await send_all(tasks) == [task.task_id for task in tasks]


async def test_no_more_tasks_are_held_than_allowed_and_the_relay_brings_the_others() -> None:
    tasks = [make_task(f"t{number}") for number in range(MOST_HELD + 100)]
    assert len(await send_all(tasks)) == 1 + MOST_HELD


async def test_large_tasks_are_held_up_to_so_many_bytes() -> None:
    data = b'{"title":"' + b"x" * 1_000_000 + b'"}'
    tasks = [make_task(f"t{number}", task_data=data) for number in range(100)]
    assert len(await send_all(tasks)) == 1 + MOST_HELD_BYTES // len(data)
