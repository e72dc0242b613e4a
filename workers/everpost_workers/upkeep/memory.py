"""Room in Redis: drops the oldest results before it is full, and warns if it fills up all the same."""

import structlog

from everpost.clock import Clock
from everpost.queue.redis_server import RedisMemory
from everpost.queue.task_queue import TaskQueue

log = structlog.get_logger("everpost.worker")

RESULTS_UP_TO = 0.75  # of maxmemory: above it, results make room for jobs that wait
TELLS_EVERY_MS = 60_000
SHED_AT_ONCE = 1_000  # results, which keep Redis busy for about a millisecond
NO_LIMIT = 2**53


class ResultKeeper:
    """Keeps the results in Redis within bounds. Several workers may do so at once.

    Args:
        most_bytes: The most bytes of results, even if Redis has room; 0 is no limit.
    """

    def __init__(self, queue: TaskQueue, most_bytes: int, clock: Clock) -> None:
        self._queue = queue
        self._most_bytes = most_bytes or NO_LIMIT
        self._clock = clock
        self._told_at_ms = 0

    async def tick(self) -> int:
        """Drop results until there is room; returns how many it dropped.

        Raises:
            QueueUnreachable: Redis is away.
        """
        total = 0
        shed = await self._queue.losses.shed_results(NO_LIMIT, 0)
        while shed.left_bytes > (wanted := wanted_bytes(shed.memory, shed.left_bytes, self._most_bytes)):
            shed = await self._queue.losses.shed_results(wanted, SHED_AT_ONCE)
            total += shed.dropped
            if not shed.dropped:
                break
        if total:
            log.info("results.shed", results=total, left_bytes=shed.left_bytes, used_bytes=shed.memory.used_bytes)
        self._tell(shed.memory, shed.left_bytes)
        return total

    def _tell(self, memory: RedisMemory, result_bytes: int) -> None:
        now_ms = self._clock()
        if not memory.is_filling:
            if self._told_at_ms:
                log.info("redis.has_room", used_bytes=memory.used_bytes, max_bytes=memory.max_bytes)
            self._told_at_ms = 0
        elif not 0 <= now_ms - self._told_at_ms < TELLS_EVERY_MS:
            self._told_at_ms = now_ms
            log.warning(
                "redis.fills_up",
                used_bytes=memory.used_bytes,
                max_bytes=memory.max_bytes,
                result_bytes=result_bytes,
                share=round(memory.share, 2),
            )


def wanted_bytes(memory: RedisMemory, result_bytes: int, most_bytes: int) -> int:
    """The size that results may have: `most_bytes`, or less if Redis is filling up."""
    too_much = memory.used_bytes - int(memory.max_bytes * RESULTS_UP_TO) if memory.max_bytes else 0
    return max(0, min(most_bytes, result_bytes - max(0, too_much)))
