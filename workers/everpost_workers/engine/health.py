"""The health-check entry: arq's text under arq's key, which all workers share."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime

from arq.worker import Worker
from redis.exceptions import OutOfMemoryError

from everpost_workers.engine.lua import Scripts

logger = logging.getLogger("arq.worker")

OVERDUE_S = 1.0  # a missing entry is written again no sooner than this after the last one


class HealthCheck:
    """Writes the entry regularly, and again if it is missing. Removes it only if this worker wrote it last."""

    def __init__(self, worker: Worker, queue_names: Sequence[str]) -> None:
        self._worker = worker
        self._queue_names = queue_names
        self._entry = b""
        self._written_at = 0.0
        self._last_counts: str | None = None

    def note_missing(self) -> None:
        """Write the entry at the next beat: a worker that stopped has removed it, or Redis lost it."""
        if time.time() - self._written_at > OVERDUE_S:
            self._written_at = 0.0

    async def record(self) -> None:
        """Write the entry if it is time to; it counts the entries of all queues, held jobs included."""
        worker = self._worker
        now = time.time()
        if now - self._written_at < worker.health_check_interval:
            return
        queued = sum([await worker.pool.zcard(name) for name in self._queue_names])
        ongoing = sum(not task.done() for task in worker.tasks.values())
        counts = (
            f"j_complete={worker.jobs_complete} j_failed={worker.jobs_failed} "
            f"j_retried={worker.jobs_retried} j_ongoing={ongoing} queued={queued}"
        )
        entry = f"{datetime.now(worker.timezone):%b-%d %H:%M:%S} {counts}"
        self._written_at = now
        try:
            await worker.pool.set(worker.health_check_key, entry, px=int((worker.health_check_interval + 1) * 1000))
        except OutOfMemoryError:  # claims go on, because jobs that end make room
            return
        self._entry = entry.encode()
        if self._last_counts not in {None, counts}:
            logger.info("recording health: %s", entry)
        self._last_counts = counts

    async def forget(self, scripts: Scripts) -> None:
        """Remove the entry, unless another worker has written it since."""
        await scripts.call("forget_health", [self._worker.health_check_key], [self._entry])
