"""Releases jobs in Redis, in batches: ended jobs are removed, the others go back to their queues."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from arq.constants import abort_jobs_ss, keep_cronjob_progress
from arq.cron import CronJob

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.collecting import Collector
from everpost_workers.engine.held import HeldJob
from everpost_workers.engine.leases import RETRY_KEY_TTL_S, LeaseKeeper
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.lua import Scripts
from everpost_workers.engine.options import EngineOptions
from everpost_workers.engine.results import ResultRules
from everpost_workers.engine.trouble import REDIS_TROUBLE, trouble_text

logger = logging.getLogger("arq.worker")

RELEASE_BATCH = 500
RELEASE_BYTES = 16 * 1024 * 1024  # results and payloads of one call; with more, Redis may answer too late

Release = tuple[HeldJob, tuple[Any, ...], bytes]
"""A job as `release.lua` takes it: its elements in the list, and its bytes."""


class Releaser(Collector):
    """Releases jobs, and goes on with backoff while Redis is away.

    Args:
        on_released: Called with each batch that Redis has released.

    Attributes:
        is_behind: Redis was asked to release jobs and has not answered yet.
    """

    def __init__(
        self,
        *,
        scripts: Scripts,
        leases: LeaseKeeper,
        results: ResultRules,
        on_released: Callable[[list[HeldJob]], None],
        options: EngineOptions,
    ) -> None:
        super().__init__(self._release)
        self._scripts = scripts
        self._leases = leases
        self._results = results
        self._on_released = on_released
        self._keys = [abort_jobs_ss, *options.queue_names]
        self._wake_channel = options.wake_channel or ""
        self._elsewhere_index = options.elsewhere_index or ""
        self._event_stream = options.event_stream or ""
        self._failpoint = options.failpoint
        self.is_behind = False

    async def _release(self, batch: list[HeldJob]) -> None:
        await self._mark_releasing(batch)
        if fenced := [job for job in batch if job.is_fenced]:
            self._let_go(fenced)  # the worker that took them over ends them, or has given them back
        for portion in self._portions([job for job in batch if not job.is_fenced]):
            await self._release_some(portion)

    async def _mark_releasing(self, batch: list[HeldJob]) -> None:
        """From here on the lease thread must not put these jobs back; see `LeaseKeeper.restoring`."""
        while not self._leases.restoring.acquire(blocking=False):  # noqa: ASYNC110 - a thread's lock, rarely taken
            await asyncio.sleep(0.005)
        for job in batch:
            job.is_releasing = True
        self._leases.restoring.release()

    def _portions(self, batch: list[HeldJob]) -> Iterator[list[Release]]:
        """Portions of `batch` for one call each; the bytes of a single job may exceed the limit."""
        portion: list[Release] = []
        size_bytes = 0
        for job in batch:
            elements, data = self._release_of(job)
            size_bytes += len(data)
            if len(portion) == RELEASE_BATCH or (portion and size_bytes > RELEASE_BYTES):
                yield portion
                portion, size_bytes = [], len(data)
            portion.append((job, elements, data))
        if portion:
            yield portion

    def _release_of(self, job: HeldJob) -> tuple[tuple[Any, ...], bytes]:
        whose = (job.job_id, job.queue_number, job.token, job.counted_tries)
        if (back := job.back) is not None:
            due = [back.queue, back.due] if back.queue else back.due
            return (back.action, *whose, due, back.tries), job.restorable_payload
        data, life_ms = (b"", "") if job.reason is None else self._results.result_of(job)
        if not isinstance(job.function, CronJob):
            return ("end", *whose, life_ms, 0), data
        # An id names one run of a cron job. If the cron job has an id of its own, all its runs share it.
        action = "end_for_good" if job.function.job_id is None else "end"
        return (action, *whose, life_ms, keep_cronjob_progress * 1000), data

    async def _release_some(self, portion: list[Release]) -> None:
        batch = [job for job, _, _ in portion]
        jobs = msgspec.msgpack.encode([element for _, elements, _ in portion for element in elements])
        options = [RETRY_KEY_TTL_S, self._wake_channel, jobs, self._results.index, self._results.list_ms]
        arguments = [*options, self._elsewhere_index, self._event_stream, *(data for _, _, data in portion)]
        backoff = Backoff(0.05, 1.0)
        self._failpoint("release.before")
        while True:
            try:
                positions = await self._scripts.call("release", self._keys, arguments)
            except REDIS_TROUBLE as error:
                self.is_behind = True
                wait_s = backoff.next_s()
                told = trouble_text(error)
                fields = as_event("jobs.not_released", jobs=len(batch), again_in_s=round(wait_s, 2), error=told)
                logger.warning("%d ended jobs not released, again in %.2fs: %s", len(batch), wait_s, told, extra=fields)
                await asyncio.sleep(wait_s)
            else:
                break
        self.is_behind = False
        self._failpoint("release.after")
        self._report(batch, positions)
        self._let_go(batch)

    def _let_go(self, batch: list[HeldJob]) -> None:
        for job in batch:
            self._leases.drop(job)
        self._on_released(batch)

    def _report(self, batch: list[HeldJob], positions: Sequence[int]) -> None:
        unstored = [batch[-position - 1].job_id for position in positions if position < 0]
        if unstored:
            told = "the results of %d jobs were not stored, such as %s: redis has no room"
            fields = as_event("results.not_stored", jobs=len(unstored), job_id=unstored[0])
            logger.warning(told, len(unstored), unstored[0], extra=fields)
        for job in (batch[position - 1] for position in positions if position > 0):
            told = "job %s was taken over by another worker, its keys were left alone"
            logger.warning(told, job.job_id, extra=as_event("job.taken_over", job_id=job.job_id, was="ended"))
            job.is_fenced = True
