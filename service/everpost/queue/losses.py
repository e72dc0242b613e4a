"""The relay's questions to Redis: which tasks has it lost, and is it still the same Redis?"""

import re
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import msgspec
import structlog

from everpost.clock import Clock
from everpost.queue.keys import EPOCH_KEY, LONGEST_NAME, RESULT, RESULTS_KEY, WITHDRAWALS_KEY, queue_name
from everpost.queue.redis_server import RedisMemory, RedisServer
from everpost.task.model import WITHDRAWN_S, QueueEntry

log = structlog.get_logger("everpost.queue")

Entry = TypeVar("Entry", bound=QueueEntry)

EPOCH = re.compile(rb"[0-9a-f]{32}")


class RedisIdentity(msgspec.Struct, frozen=True):
    """Which Redis answered.

    Attributes:
        epoch: The name of its data set, its process and its time as a master. A server that restarts from its file has
            the same name, but may lack its last writes; so the process is part of it. Behind Sentinels, so is the
            replication id, which is new for each promotion: a server may be a master for the second time.
        evicted: The keys this process has dropped for lack of memory; with the right policy, it drops none.
    """

    epoch: str
    evicted: int


class Shed(msgspec.Struct, frozen=True):
    """Results that were dropped.

    Attributes:
        left_bytes: What the other results take.
        memory: How full Redis is now.
    """

    left_bytes: int
    dropped: int
    memory: RedisMemory


class Losses:
    """What Redis lost, what other programs removed, and what it may drop. Every method may raise `QueueUnreachable`."""

    def __init__(self, server: RedisServer, clock: Clock) -> None:
        self._redis = server.redis
        self._ask = server.ask
        self._clock = clock
        self._missing = server.script("missing")
        self._withdrawals = server.script("old_withdrawals")
        self._identify = server.script("identify")
        self._put_small = server.script("put_small")
        self._shed = server.script("shed_results")
        self._has_sentinels = server.has_sentinels

    async def identify(self, proposed: str) -> RedisIdentity:
        """Which Redis this is. A data set without a name, for example after FLUSHALL, gets `proposed`."""
        answer: list[bytes] = await self._ask(self._identify(keys=[EPOCH_KEY], args=[proposed, LONGEST_NAME]))
        name, run_id, replication_id, evicted = answer
        if EPOCH.fullmatch(name) is None:
            log.warning("epoch.overwritten")
            await self._ask(self._put_small(keys=[EPOCH_KEY], args=["SET", proposed]))
            name = proposed.encode()
        term = b":" + replication_id if self._has_sentinels else b""
        return RedisIdentity((name + b":" + run_id + term).decode(), int(evicted or 0))

    async def missing_among(self, tasks: Sequence[Entry]) -> list[Entry]:
        """The tasks that Redis has lost: their queue has no job for the right time, and no worker holds one."""
        if not tasks:
            return []
        parts = [part for task in tasks for part in (task.task_id, queue_name(task.priority), task.due_at_ms or 0)]
        positions: list[int] = await self._ask(
            self._missing(keys=[], args=[msgspec.msgpack.encode(parts), self._clock()])
        )
        return [tasks[position - 1] for position in positions]

    async def results_among(self, task_ids: Sequence[str]) -> set[str]:
        """The tasks that have a result, whatever its content."""
        return await self._ask(self._results_among(task_ids))

    async def forget_results(self, task_ids: Collection[str]) -> None:
        """Remove results that other programs wrote: their tasks have not ended."""
        if task_ids:
            await self._ask(self._redis.unlink(*(RESULT + task_id for task_id in task_ids)))

    async def shed_results(self, most_bytes: int, most: int) -> Shed:
        """Drop the oldest results, `most` at most, until all take `most_bytes`.

        The bytes are estimated. Results older than the index are not counted.
        """
        answer: list[Any] = await self._ask(self._shed(keys=[RESULTS_KEY], args=[most_bytes, most]))
        left_bytes, dropped, used_bytes, max_bytes = map(int, answer)
        return Shed(left_bytes, dropped, RedisMemory(used_bytes=used_bytes, max_bytes=max_bytes))

    async def old_withdrawals(self, limit: int) -> list[str]:
        """Tasks that were withdrawn long ago: by now their replacement is committed, or it never will be."""
        age_ms = round(WITHDRAWN_S * 1000) + 1_000  # by then, the notes in Redis have expired, too
        found: list[bytes] = await self._ask(self._withdrawals(keys=[WITHDRAWALS_KEY], args=[age_ms, limit]))
        task_ids = {member: member.decode(errors="replace") for member in found}
        if strange := [member for member, task_id in task_ids.items() if member != task_id.encode()]:
            log.warning("withdrawals.skipped", members=len(strange))
            await self._ask(self._redis.zrem(WITHDRAWALS_KEY, *strange))
        return [task_id for member, task_id in task_ids.items() if member not in strange]

    async def forget_withdrawals(self, task_ids: Sequence[str]) -> None:
        """Forget withdrawals that the relay has handled."""
        if task_ids:
            await self._ask(self._redis.zrem(WITHDRAWALS_KEY, *task_ids))

    async def _results_among(self, task_ids: Sequence[str]) -> set[str]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for task_id in task_ids:
                pipe.exists(RESULT + task_id)
            answers = await pipe.execute()
        return {task_id for task_id, is_there in zip(task_ids, answers, strict=True) if is_there}
