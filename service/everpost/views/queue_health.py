"""How the queue is doing: what waits, who works, and how full Redis is."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.actions.limits import ShownLimits
from everpost.errors import QueueUnreachable
from everpost.queue.jobs import QueueDepth
from everpost.queue.redis_server import RedisMemory
from everpost.queue.task_queue import TaskQueue
from everpost.views.parked_tasks import ParkedTasks, parked_tasks


class QueueHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of Redis: jobs by priority, due now or later, every living worker, and how full Redis is.

    Attributes:
        parked: How many due tasks wait outside the queues, for a limit or until something is resumed.
        waits: The platforms and accounts that most of them wait for.
    """

    parked: int
    waits: Sequence[ParkedTasks]
    depths: Mapping[int, QueueDepth]
    workers: Sequence[Mapping[str, Any]]
    memory: RedisMemory


async def queue_health(queue: TaskQueue, limits: ShownLimits) -> QueueHealth | None:
    """The state of Redis with what waits for limits and holds; None if it does not answer."""
    if limits.parked is None:
        return None
    try:
        depths, workers, memory = await asyncio.gather(
            queue.jobs.depths(), queue.workers.living(), queue.server.memory()
        )
    except QueueUnreachable:
        return None
    waits = parked_tasks(limits)
    return QueueHealth(parked=limits.parked, waits=waits, depths=depths, workers=workers, memory=memory)
