"""The jobs in Redis: finding, counting and withdrawing them."""

import contextlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec

from everpost.batcher import Batcher
from everpost.clock import LAST_MS, Clock
from everpost.errors import QueueUnreachable
from everpost.failpoints import failpoint
from everpost.queue.codec import read_jobs
from everpost.queue.keys import (
    ABORTS_KEY,
    IN_PROGRESS,
    JOB,
    QUEUE_NAMES,
    RESULT,
    WAKE_CHANNEL,
    WITHDRAWALS_KEY,
    queue_name,
)
from everpost.queue.redis_server import RedisServer
from everpost.task.model import PRIORITIES, WITHDRAWN_S
from everpost.task.queued_job import QueuedJob

LARGEST_FOUND = 64 << 20  # bytes of a job or result that is read; workers use the same limit
MOST_TOGETHER = 256  # tasks that concurrent callers look for in one call
SMALL_MS = 1_000  # a smaller difference of clocks is not taken into account, as in enqueue.lua
SCANNED = 1_000  # keys scanned in one call


class QueueDepth(msgspec.Struct, frozen=True):
    """The jobs of one priority: due now or leased to a worker, and due later."""

    ready: int
    later: int


HELD_BY_WORKER, OUT_ALREADY = 0, -1  # answers of withdraw.lua


class TakenOut(msgspec.Struct, frozen=True):
    """A job is out of its queue.

    Attributes:
        claims: How many claims of it Redis has counted.
    """

    claims: int


class NotTakenOut(Enum):
    """Why a job is not out of its queue."""

    HELD = "held"  # a worker holds it
    BUSY = "busy"  # another caller has it out


class Jobs:
    """Jobs and results, found by their tasks' ids. Every method may raise `QueueUnreachable`."""

    def __init__(self, server: RedisServer, clock: Clock) -> None:
        self._redis = server.redis
        self._ask = server.ask
        self._clock = clock
        self._find = server.script_on_own_connection("find")
        self._withdraw = server.script("withdraw")
        self._depths = server.script("depths")
        self._put_small = server.script("put_small")
        self._together: Batcher[str, QueuedJob | None] = Batcher(self._find_each, max_items=MOST_TOGETHER)

    async def find_task(self, task_id: str) -> QueuedJob | None:
        """Like `find_tasks` for one task, in one call with those of concurrent callers."""
        return await self._together.submit(task_id)

    async def find_tasks(self, task_ids: Sequence[str]) -> dict[str, QueuedJob]:
        """What Redis knows about the tasks: ended ones by their results, others by their jobs, if they can be read."""
        return await self._read((JOB, RESULT), task_ids)

    async def find_waiting(self, task_ids: Sequence[str]) -> dict[str, QueuedJob]:
        """The jobs of the tasks that wait or run."""
        return await self._read((JOB,), task_ids)

    async def find_results(self, task_ids: Sequence[str]) -> dict[str, QueuedJob]:
        """The results of the tasks that have one."""
        return await self._read((RESULT,), task_ids)

    async def page_waiting(self, cursor: int = 0) -> tuple[int, list[str]]:
        """Some waiting or running tasks, and the cursor of the next page; 0 after the last. Some tasks come twice."""
        return await self._scan(JOB, cursor)

    async def page_results(self, cursor: int = 0) -> tuple[int, list[str]]:
        """Some tasks that have a result, as in `page_waiting`."""
        return await self._scan(RESULT, cursor)

    async def running_among(self, task_ids: Sequence[str]) -> set[str]:
        """Those of the tasks that a worker holds."""
        if not task_ids:
            return set()
        found = await self._ask(self._redis.mget([IN_PROGRESS + task_id for task_id in task_ids]))
        return {task_id for task_id, value in zip(task_ids, found, strict=True) if value is not None}

    async def queue_position(self, task_id: str, priority: int) -> int | None:
        """The number of jobs in its queue that are due before it; None if it does not wait there."""
        rank = await self._ask(self._redis.zrank(queue_name(priority), task_id))
        return None if rank is None else int(rank)

    async def due_times(self, task_ids: Sequence[str]) -> dict[str, int]:
        """When each of the tasks that wait for a later time may run, in UTC milliseconds."""
        places = [(task_id, name) for task_id in task_ids for name in QUEUE_NAMES]
        found: tuple[int, list[float | None]] = await self._ask(self._scores(places))
        redis_ms, scores = found
        ahead_ms = redis_ms - self._clock()
        if abs(ahead_ms) < SMALL_MS:
            ahead_ms = 0
        return {
            task_id: int(min(score - ahead_ms, LAST_MS))  # a stock client can write any score
            for (task_id, _), score in zip(places, scores, strict=True)
            if score is not None and score > redis_ms
        }

    async def depths(self) -> Mapping[int, QueueDepth]:
        """The number of jobs of each priority."""
        found: list[Any] = await self._ask(self._depths(keys=QUEUE_NAMES))
        counts = zip(found[1::3], found[2::3], strict=True)
        return {priority: QueueDepth(*both) for priority, both in zip(PRIORITIES, counts, strict=True)}

    async def longest_wait_ms(self) -> int:
        """How long the oldest due job has been waiting for a worker; 0 if no job is due."""
        found: list[Any] = await self._ask(self._depths(keys=QUEUE_NAMES))
        due_ms = [float(score) for score in found[3::3] if score]  # a claimed job is due at the end of its lease
        return max(0, round(found[0] - min(due_ms))) if due_ms else 0

    async def withdraw_task(self, task_id: str) -> bool:
        """Take a waiting task out of its queue permanently; False if a worker holds it."""
        arguments: list[str | int] = [task_id, round(WITHDRAWN_S * 1000)]
        withdrawn = await self._ask(self._withdraw(keys=[WITHDRAWALS_KEY, *QUEUE_NAMES], args=arguments))
        failpoint("withdraw.after")
        return bool(withdrawn)

    async def take_out(self, task_id: str, token: str) -> TakenOut | NotTakenOut:
        """Take a waiting task out of its queue until `Enqueuer.requeue_tasks` puts it back, with the same token.

        No other process queues it for `WITHDRAWN_S`. After that the relay does, in case the caller has died.

        Args:
            token: The caller's name for what it does. A repeated call has the same one.
        """
        arguments: list[str | int] = [task_id, round(WITHDRAWN_S * 1000), token]
        answer = int(await self._ask(self._withdraw(keys=[WITHDRAWALS_KEY, *QUEUE_NAMES], args=arguments)))
        failpoint("take_out.after")
        if answer == HELD_BY_WORKER:
            return NotTakenOut.HELD
        return NotTakenOut.BUSY if answer == OUT_ALREADY else TakenOut(answer - 1)

    async def abort_task(self, task_id: str) -> None:
        """Ask the worker that runs the task to cancel it, like arq's `Job.abort`."""
        await self._ask(self._put_small(keys=[ABORTS_KEY], args=["ZADD", self._clock(), task_id]))
        with contextlib.suppress(QueueUnreachable):  # the request is stored, and workers check for it regularly
            await self._ask(self._redis.publish(WAKE_CHANNEL, ""))

    async def drain(self) -> None:
        """Wait until every `find_task` is answered."""
        await self._together.drain()

    async def _find_each(self, task_ids: Sequence[str]) -> list[QueuedJob | None]:
        found = await self._read((JOB, RESULT), task_ids)
        return [found.get(task_id) for task_id in task_ids]

    async def _read(self, prefixes: Sequence[str], task_ids: Sequence[str]) -> dict[str, QueuedJob]:
        if not task_ids:
            return {}
        keys = [prefix + task_id for prefix in prefixes for task_id in task_ids]
        found: list[bytes | None] = await self._ask(self._find.run(keys, [LARGEST_FOUND]))
        return read_jobs([*task_ids] * len(prefixes), found)

    async def _scan(self, prefix: str, cursor: int) -> tuple[int, list[str]]:
        following, keys = await self._ask(self._redis.scan(cursor, match=f"{prefix}*", count=SCANNED))
        return following, [key.decode(errors="replace").removeprefix(prefix) for key in keys]

    async def _scores(self, places: Sequence[tuple[str, str]]) -> tuple[int, list[float | None]]:
        """Redis's time in milliseconds, and the scores."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for task_id, name in places:
                pipe.zscore(name, task_id)
            (seconds, microseconds), *scores = await pipe.execute()
            return seconds * 1_000 + microseconds // 1_000, scores
