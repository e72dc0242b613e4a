"""The loop of one worker: it claims when something may be due, and does arq's regular work in between."""

import asyncio
import logging

from arq.worker import Worker

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.cancellation import raise_if_cancelled
from everpost_workers.engine.claiming import SHORTEST_POLL_S
from everpost_workers.engine.dispatch import Dispatcher
from everpost_workers.engine.draining import drain
from everpost_workers.engine.errors import StuckJobsError
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.lua import ANSWER_S
from everpost_workers.engine.trouble import REDIS_TROUBLE, trouble_text

logger = logging.getLogger("arq.worker")


class ClaimLoop:
    """Claims for a worker, within its limits, until its dispatcher is closed."""

    def __init__(self, worker: Worker, dispatcher: Dispatcher) -> None:
        self._worker = worker
        self._dispatcher = dispatcher
        self._next_beat_at = 0.0

    async def run(self) -> None:
        """Claim until the dispatcher is closed, or in burst mode until the queues are empty; outages end nothing.

        Raises:
            StuckJobsError: A job goes on although it was cancelled, and all others have ended.
        """
        dispatcher = self._dispatcher
        backoff = Backoff(0.05, 1.0)
        while not dispatcher.is_closed:
            raise_if_cancelled()
            if dispatcher.is_only_stuck:
                raise StuckJobsError([job.job_id for job in dispatcher.stuck.jobs])
            if dispatcher.watch is not None:
                dispatcher.watch.turn()
            try:
                await self._turn()
            except REDIS_TROUBLE as error:
                wait_s = backoff.next_s()
                told = trouble_text(error)
                fields = as_event("redis.trouble", again_in_s=round(wait_s, 2), error=told)
                logger.warning("redis trouble, again in %.2fs: %s", wait_s, told, extra=fields)
                await asyncio.sleep(wait_s)
            except Exception:
                logger.exception("the worker's loop failed, it goes on", extra=as_event("worker.loop_failed"))
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()
                if self._worker.burst and self._is_burst_over():
                    await drain(dispatcher)
                    return
                await self._pause()

    async def turn_once(self) -> None:
        """Do everything a turn may do, whether it is due or not.

        Raises:
            RedisError, OSError, TimeoutError: Redis is away.
        """
        await self._beat()
        await self._dispatcher.claim_some(self._limit())

    async def _turn(self) -> None:
        worker, dispatcher = self._worker, self._dispatcher
        now = worker.loop.time()
        if now >= self._next_beat_at:
            # Set first, so that a beat that fails stops no claim.
            self._next_beat_at = now + max(worker.poll_delay_s, SHORTEST_POLL_S)
            await self._beat()
        is_burst_idle = worker.burst and dispatcher.held_count == 0
        if is_burst_idle or now >= dispatcher.claimer.due_at:
            await dispatcher.claim_some(self._limit())

    async def _beat(self) -> None:
        async with asyncio.timeout(ANSWER_S):  # a stock pool has no limit of its own
            await self._worker.heart_beat()
        if self._worker.allow_abort_jobs:
            await self._dispatcher.cancel_aborted()

    async def _pause(self) -> None:
        wake_at = self._next_beat_at
        if self._limit() > 0:
            wake_at = min(wake_at, self._dispatcher.claimer.due_at)
        await self._dispatcher.signal.wait(max(0.0, wake_at - self._worker.loop.time()))

    def _limit(self) -> int:
        """How many jobs may be claimed now; 0 while stopping, or while Redis has to hear of ended jobs first."""
        worker, dispatcher = self._worker, self._dispatcher
        if not worker.allow_pick_jobs or not dispatcher.may_claim:
            return 0
        limit = min(worker.queue_read_limit, dispatcher.free_slots)
        if worker.burst and worker.max_burst_jobs >= 0:
            limit = min(limit, worker.max_burst_jobs - self._begun())
        return limit

    def _begun(self) -> int:
        worker = self._worker
        return worker.jobs_complete + worker.jobs_retried + worker.jobs_failed + self._dispatcher.unfinished

    def _is_burst_over(self) -> bool:
        if 0 <= self._worker.max_burst_jobs <= self._begun():
            return True
        return self._dispatcher.claimer.queued == 0 and self._dispatcher.held_count == 0
