"""How the queue is doing: what waits, who works, and how full Redis is."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.errors import QueueUnreachable
from everpost.queue.jobs import QueueDepth
from everpost.queue.redis_server import RedisMemory
from everpost.queue.task_queue import TaskQueue


class QueueHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of Redis: jobs by priority, due now or later, every living worker, and how full Redis is.

    Attributes:
        parked: How many due tasks wait outside the queues, for a limit or until something is resumed.
    """

    parked: int
    depths: Mapping[int, QueueDepth]
    workers: Sequence[Mapping[str, Any]]
    memory: RedisMemory


async def queue_health(queue: TaskQueue) -> QueueHealth | None:
    """The state of Redis; None if it does not answer."""
    try:
        depths, workers, memory, parked = await asyncio.gather(
            queue.jobs.depths(), queue.workers.living(), queue.server.memory(), queue.gates.count_parked()
        )
    except QueueUnreachable:
        return None
    return QueueHealth(parked=parked, depths=depths, workers=workers, memory=memory)
