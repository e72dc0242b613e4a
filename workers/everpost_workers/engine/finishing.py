"""The way of a job that has ended: recorded by the completion hook first, then released in Redis, both in batches."""

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import msgspec
from arq.constants import abort_jobs_ss, keep_cronjob_progress
from arq.cron import CronJob
from arq.jobs import Serializer, serialize_result

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.cancellation import raise_unless_failure
from everpost_workers.engine.claims import HeldJob
from everpost_workers.engine.leases import RETRY_KEY_TTL_S, LeaseKeeper
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.lua import Scripts
from everpost_workers.engine.outcomes import JobOutcome
from everpost_workers.engine.trouble import REDIS_TROUBLE, trouble_text

logger = logging.getLogger("arq.worker")

RELEASE_BATCH = 500
RELEASE_BYTES = 16 * 1024 * 1024  # results and payloads of one call, or Redis does not answer in time
LISTS = 128  # of the results index, for as long as results live
RECORDS_AT_ONCE = 4  # batches: the next is ready when the database has committed the last


Release = tuple[HeldJob, tuple[Any, ...], bytes]
"""A job as `release.lua` takes it: its elements in the list, and its bytes."""


class Collector:
    """Hands what came in since it last did to `work`, as one batch.

    Args:
        most: How many batches are worked on at a time.
    """

    def __init__(self, work: Callable[[list[HeldJob]], Awaitable[None]], *, most: int = 1) -> None:
        self._work = work
        self._most = most
        self._is_starting = False
        self._apart = 0  # batches that are not counted
        self._waiting: list[HeldJob] = []
        self._batches: list[list[HeldJob]] = []
        self.runners: set[asyncio.Task[None]] = set()  # at work; none when everything is done

    def add(self, jobs: Sequence[HeldJob]) -> None:
        """Have `jobs` worked on."""
        self._waiting.extend(jobs)
        self._start()

    @property
    def unfinished(self) -> list[HeldJob]:
        """The jobs that wait or are worked on."""
        return [*itertools.chain(*self._batches), *self._waiting]

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let the batch at work meanwhile not count among the `most`."""
        self._apart += 1
        self._start()
        try:
            yield
        finally:
            self._apart -= 1

    def _start(self) -> None:
        if not self._waiting or len(self.runners) - self._apart >= self._most or self._is_starting:
            return
        runner = asyncio.get_running_loop().create_task(self._run())
        self._is_starting = True
        self.runners.add(runner)
        runner.add_done_callback(self._on_done)

    async def _run(self) -> None:
        self._is_starting = False
        batch, self._waiting = self._waiting, []
        self._batches.append(batch)
        try:
            await self._work(batch)
        except asyncio.CancelledError:
            self._waiting[:0] = batch  # the worker gives up on them, and asks what is left
            raise
        except Exception:
            # Not an outage but a defect; the jobs are kept, with their leases, and tried again.
            fields = as_event("jobs.not_handled", jobs=len(batch), job_id=batch[0].job_id)
            logger.exception("%d ended jobs could not be handled, trying again", len(batch), extra=fields)
            await asyncio.sleep(1)
            self._waiting[:0] = batch
        finally:
            self._batches.remove(batch)

    def _on_done(self, runner: asyncio.Task[None]) -> None:
        self.runners.discard(runner)
        if not runner.cancelled():  # else the worker gives up on what is left
            self._start()


class ResultRules:
    """Whether and how long results are kept: arq's rules, on every path alike.

    A function's own `keep_result` and `keep_result_forever` win over the worker's, on failure too.

    Attributes:
        index: The key of the results index, or none.
        list_ms: For how long the ids of new results go into one list of the index; a list outlives its first results by
            this, and there are about `LISTS` of them.
    """

    def __init__(
        self,
        *,
        keep_result_s: float | None,
        is_kept_forever: bool,
        serializer: Serializer | None,
        serializer_like: Callable[[bytes], Serializer] | None = None,
        index: str | None = None,
        is_slim: bool = False,
    ) -> None:
        """`serializer_like` is called with a job's payload (b"" if it is gone), and used instead of `serializer`."""
        self._keep_result_s = keep_result_s
        self._is_kept_forever = is_kept_forever
        self._serializer = serializer
        self._serializer_like = serializer_like
        self._is_slim = is_slim
        self.index = index or ""
        self.list_ms = max(1_000, round((keep_result_s or 0) * 1000 / LISTS))

    def result_of(self, job: HeldJob) -> tuple[bytes, str]:
        """The result's bytes, empty where none is kept, and its life in ms, empty where it is for ever."""
        keep_result_s, is_kept_forever = self._keep_result_s, self._is_kept_forever
        if job.function is not None:
            if job.function.keep_result_s is not None:
                keep_result_s = job.function.keep_result_s
            if job.function.keep_result_forever is not None:
                is_kept_forever = job.function.keep_result_forever
        life_ms = round((keep_result_s or 0) * 1000)
        if not is_kept_forever and life_ms <= 0:
            return b"", ""
        return self._serialize(job) or b"", "" if is_kept_forever else str(life_ms)

    def _serialize(self, job: HeldJob) -> bytes | None:
        is_slim = self._is_slim and job.success
        return serialize_result(
            job.function_name,
            () if is_slim else job.args,
            {} if is_slim else job.kwargs,
            job.job_try,
            job.enqueue_time_ms,
            job.success,
            job.result,
            job.start_ms,
            job.finish_ms,
            job.reference,
            job.queue_name,
            job.job_id,
            serializer=self._serializer_of(job),
        )

    def _serializer_of(self, job: HeldJob) -> Serializer | None:
        return self._serializer if self._serializer_like is None else self._serializer_like(job.payload or b"")


class Finisher:
    """Records and releases ended jobs; both go on, with backoff, for as long as the hook or Redis fails.

    Recording does not wait for Redis, and jobs that go back to a queue do not wait for the hook.

    Args:
        on_complete: The completion hook, if there is one.
        on_released: Told of each batch that Redis has let go of.
    """

    def __init__(
        self,
        *,
        scripts: Scripts,
        leases: LeaseKeeper,
        results: ResultRules,
        on_complete: Callable[[Sequence[JobOutcome]], Awaitable[None]] | None,
        on_released: Callable[[list[HeldJob]], None],
        queue_names: Sequence[str],
        wake_channel: str | None,
        outages: tuple[type[Exception], ...],
        failpoint: Callable[[str], None],
    ) -> None:
        self._scripts = scripts
        self._leases = leases
        self._results = results
        self._on_complete = on_complete
        self._on_released = on_released
        self._keys = [abort_jobs_ss, *queue_names]
        self._wake_channel = wake_channel or ""
        self._outages = outages
        self._failpoint = failpoint
        self._is_failing = False
        self.is_behind = False  # Redis has not heard of what ended, and was asked already
        self._records = Collector(self._record, most=RECORDS_AT_ONCE)
        self._releases = Collector(self._release)

    def finish(self, jobs: Sequence[HeldJob]) -> None:
        """Record how `jobs` ended, then release them."""
        (self._releases if self._on_complete is None else self._records).add(jobs)

    def release(self, jobs: Sequence[HeldJob]) -> None:
        """Release `jobs` without a record: they go back to their queue, or are dropped."""
        self._releases.add(jobs)

    @property
    def unrecorded(self) -> list[HeldJob]:
        """Jobs that have ended, and the completion hook has not taken that."""
        return self._records.unfinished

    @property
    def is_failing(self) -> bool:
        """Whether the completion hook raised when it was last called."""
        return self._is_failing

    @property
    def runners(self) -> list[asyncio.Task[None]]:
        """The tasks still at work."""
        return [*self._records.runners, *self._releases.runners]

    async def _record(self, batch: list[HeldJob]) -> None:
        assert self._on_complete is not None, "only called with a hook"
        backoff = Backoff(0.1, 5.0, jitter=lambda: random.uniform(0.75, 1.25))  # noqa: S311 - not a secret
        while True:
            try:
                await self._on_complete([job.as_outcome() for job in batch])
            except BaseException as error:
                raise_unless_failure(error)
                self._is_failing = True
                wait_s = backoff.next_s()
                is_defect = not isinstance(error, self._outages)
                told = "on_complete failed for %d jobs, calling it again in %.1fs: %s"
                fields = as_event(
                    "complete.hook_failed", jobs=len(batch), again_in_s=round(wait_s, 2), error=str(error)
                )
                logger.error(told, len(batch), wait_s, error, exc_info=is_defect, extra=fields)  # noqa: TRY400 - as in dispatch.py
                with self._records.apart() if is_defect else nullcontext():  # it may never be recorded; others can be
                    await asyncio.sleep(wait_s)
            else:
                self._is_failing = False
                break
        self._releases.add(batch)

    async def _release(self, batch: list[HeldJob]) -> None:
        await self._settle(batch)
        if fenced := [job for job in batch if job.is_fenced]:
            self._let_go(fenced)  # whoever took them over ends them, or has given them back
        for portion in self._portions([job for job in batch if not job.is_fenced]):
            await self._release_some(portion)

    def _portions(self, batch: list[HeldJob]) -> Iterator[list[Release]]:
        """What of `batch` is released in one call; a single job's bytes may exceed the limit."""
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

    async def _settle(self, batch: list[HeldJob]) -> None:
        """From here on the lease thread must not put these jobs back; see `LeaseKeeper.restoring`."""
        while not self._leases.restoring.acquire(blocking=False):  # noqa: ASYNC110 - a thread's lock, rarely taken
            await asyncio.sleep(0.005)
        for job in batch:
            job.is_settled = True
        self._leases.restoring.release()

    async def _release_some(self, portion: list[Release]) -> None:
        batch = [job for job, _, _ in portion]
        jobs = msgspec.msgpack.encode([element for _, elements, _ in portion for element in elements])
        options = [RETRY_KEY_TTL_S, self._wake_channel, jobs, self._results.index, self._results.list_ms]
        arguments = [*options, *(data for _, _, data in portion)]
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

    def _release_of(self, job: HeldJob) -> tuple[tuple[Any, ...], bytes]:
        whose = (job.job_id, job.queue_number, job.token, job.counted_tries)
        if job.return_score is not None:
            action, due = ("return_later", job.return_in_ms) if job.return_in_ms else ("return", job.return_score)
            return (action, *whose, due, job.return_tries), job.restorable_payload
        data, life_ms = (b"", "") if job.ends_as is None else self._results.result_of(job)
        if not isinstance(job.function, CronJob):
            return ("finish", *whose, life_ms, 0), data
        # A cron job's id names one run of it, unless it was given an id of its own, which all its runs share.
        action = "finish_for_good" if job.function.job_id is None else "finish"
        return (action, *whose, life_ms, keep_cronjob_progress * 1000), data

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
