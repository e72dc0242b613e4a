"""Direct access to Redis for the bench and the demonstration: fill it, empty it, look at it."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import cast

import msgspec
from redis.asyncio import Redis

from everpost.queue.keys import PARKED, QUEUE_NAMES, WORKERS_KEY

FILLED_AT_A_TIME = 1_000  # jobs
LOOK_EVERY_S = 0.05


class ServerFacts(msgspec.Struct, frozen=True):
    """What a server reports about itself; `name` is `redis` or `valkey`."""

    name: str
    version: str
    allocator: str


class MeasuredQueue:
    """A connection to the measured server."""

    def __init__(self, address: str) -> None:
        self._redis = Redis.from_url(address)

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()

    async def fill(self, queue: str, job_ids: Sequence[str], payload: bytes, due_in_ms: int = 0) -> None:
        """Put jobs with the same payload into one of arq's queues."""
        due_at_ms = time.time_ns() // 1_000_000 + due_in_ms
        for start in range(0, len(job_ids), FILLED_AT_A_TIME):
            some = job_ids[start : start + FILLED_AT_A_TIME]
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.mset({f"arq:job:{job_id}": payload for job_id in some})
                pipe.zadd(queue, dict.fromkeys(some, due_at_ms))
                await pipe.execute()

    async def wait_for_rewrite(self) -> None:
        """Wait until the server has rewritten its append-only file, which sudden growth makes it do."""
        while True:
            facts = await self._redis.info("persistence")
            if not facts["aof_rewrite_in_progress"] and not facts["aof_rewrite_scheduled"]:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def count_queued(self) -> int:
        """How many jobs are in arq's queues, those that run included."""
        return sum([int(await self._redis.zcard(name)) for name in QUEUE_NAMES])

    async def count_parked(self) -> int:
        """How many tasks wait outside the queues."""
        return int(await cast("Awaitable[int]", self._redis.hlen(PARKED)))

    async def flush(self) -> None:
        """Make the server forget everything."""
        await self._redis.flushall()

    async def keys_of(self, task_id: str) -> list[str]:
        """The keys of a task."""
        return [key.decode() for key in await self._redis.keys(f"arq:*{task_id}")]

    async def has_worker(self, pid: int) -> bool:
        """Whether the worker of this process has reported that it is alive."""
        mark = f":{pid}:".encode()
        return any(mark in worker for worker in await self._redis.hkeys(WORKERS_KEY))

    async def server(self) -> ServerFacts:
        """The server's facts."""
        server, memory = await self._redis.info("server"), await self._redis.info("memory")
        return ServerFacts(
            name=str(server.get("server_name", "redis")),
            version=server.get("valkey_version", server["redis_version"]),
            allocator=memory["mem_allocator"],
        )
