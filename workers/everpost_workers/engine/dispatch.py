"""Claims jobs and starts them, and knows everything this worker holds until Redis has let go of it."""

import asyncio
import itertools
import logging
import math
import os
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any

import msgspec
from arq.connections import ArqRedis
from arq.constants import abort_job_max_age, abort_jobs_ss
from arq.jobs import Serializer
from arq.worker import Worker

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.cancellation import raise_unless_failure, whereabouts
from everpost_workers.engine.claims import Claim, HeldJob, JobPhase
from everpost_workers.engine.finishing import Finisher, ResultRules
from everpost_workers.engine.leases import RETRY_KEY_TTL_S, LeaseKeeper, LoopWatch, blocking_client
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.lua import OnWrongType, Scripts
from everpost_workers.engine.outcomes import CancelCause, JobOutcome
from everpost_workers.engine.reading import LONGEST_TOLD, ClaimReply, JobReader, UnnamedEntry, read_claim_reply
from everpost_workers.engine.running import JobRunner
from everpost_workers.engine.trouble import REDIS_TROUBLE
from everpost_workers.engine.turns import QueueTurns
from everpost_workers.engine.wakeup import WakeSignal

logger = logging.getLogger("arq.worker")

CLAIM_BATCH = 500  # jobs of one claim, which keeps Redis from everybody else for a few milliseconds
CLAIM_BYTES = 16 * 1024 * 1024  # their payloads, if there is more than one
CUT_BYTES = 65_536  # kept of a payload that is too large
READING_S = 0.005  # of payloads at a stretch
SHORTEST_POLL_S = 0.01
UNRELEASED_SHARE = 4  # jobs a slot that may be held at once, all but one of them ended
SETTLE_LOOK_S = 0.1
DUE_MARGIN_S = 0.001  # scores are whole milliseconds: a claim a moment too early finds nothing

OnClaim = Callable[[Sequence[Claim]], Awaitable[Collection[str]]]
OnComplete = Callable[[Sequence[JobOutcome]], Awaitable[None]]


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `BatchWorker` takes beyond arq's parameters; described there."""

    queue_names: list[str]
    lease_s: float
    on_claim: OnClaim | None
    on_complete: OnComplete | None
    wake_channel: str | None
    own_connections: bool
    serializer_like: Callable[[bytes], Serializer] | None
    blocked_s: float
    on_blocked: Callable[[], None] | None
    result_index: str | None
    slim_results: bool
    on_stopping: Callable[[], None] | None
    on_left_over: OnComplete | None
    max_payload_bytes: int
    outages: tuple[type[Exception], ...]
    on_wrong_type: OnWrongType | None
    failpoint: Callable[[str], None] | None


def _pass(_: str) -> None:
    """No failpoint."""


class Dispatcher:
    """The jobs of one worker over one connection pool.

    Attributes:
        signal: Set when there is reason to look at `next_claim_at` again.
        next_claim_at: The loop's time at which a claim makes sense, provided that slots are free.
        claimed_at: The loop's time of the last claim that found nothing, or whose jobs were let in.
        queued: How many entries the queues had at the last claim, held jobs included.
        watch: Told of each turn of the loop, if that is asked for.
        failures: Jobs that ended without success, kept only once somebody has put a list here.
        stuck: Jobs that were cancelled and go on, and may never end.
    """

    def __init__(
        self, worker: Worker, pool: ArqRedis, options: EngineOptions, *, on_missing_health: Callable[[], None]
    ) -> None:
        self._worker = worker
        self._options = options
        self._on_missing_health = on_missing_health
        self._held: dict[str, HeldJob] = {}
        self._active = 0  # held jobs that have not come to their end
        self._id = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._claim_numbers = itertools.count(1)
        self._turns = QueueTurns(len(options.queue_names))
        self._reader = JobReader(worker.functions, deserializer=worker.job_deserializer, max_tries=worker.max_tries)
        self._runner = JobRunner(worker, self._on_ended, self._on_stuck)
        self._claiming: asyncio.Task[None] | None = None
        self._admitting: set[asyncio.Task[None]] = set()
        self._hook_backoff = Backoff(0.1, 5.0)
        self._paused_until = 0.0
        self._is_settled = False
        self.scripts = Scripts(
            pool,
            zsets=[abort_jobs_ss, *options.queue_names],
            own_connections=options.own_connections,
            on_wrong_type=options.on_wrong_type,
        )
        self.signal = WakeSignal()
        self.next_claim_at = 0.0
        self.claimed_at = 0.0
        self.queued = 0
        self.failures: list[HeldJob] | None = None
        self.stuck: list[HeldJob] = []
        client = blocking_client(pool, timeout_s=max(0.2, min(2.0, options.lease_s / 5)))
        self.watch = None if options.on_blocked is None else LoopWatch(options.blocked_s, options.on_blocked)
        self._leases = LeaseKeeper(client, lease_s=options.lease_s, queue_names=options.queue_names, watch=self.watch)
        self._finisher = Finisher(
            scripts=self.scripts,
            leases=self._leases,
            results=ResultRules(
                keep_result_s=worker.keep_result_s,
                is_kept_forever=worker.keep_result_forever,
                serializer=worker.job_serializer,
                serializer_like=options.serializer_like,
                index=options.result_index,
                is_slim=options.slim_results,
            ),
            on_complete=options.on_complete,
            on_released=self._on_released,
            queue_names=options.queue_names,
            wake_channel=options.wake_channel,
            outages=options.outages,
            failpoint=options.failpoint or _pass,
        )

    @property
    def held_count(self) -> int:
        """How many jobs are claimed and not yet released."""
        return len(self._held)

    @property
    def unfinished(self) -> int:
        """How many held jobs have not come to their end."""
        return self._active

    @property
    def free_slots(self) -> int:
        """How many jobs may be claimed: a job that has ended needs its slot no longer, only its record and release.

        Those may wait for a while when the database or Redis is away, so their number has a limit too, and while the
        completion hook fails, nothing more is begun than there are slots.
        """
        most = self._worker.max_jobs
        share = 1 if self._finisher.is_failing else UNRELEASED_SHARE
        return min(most - self._active, share * most - len(self._held))

    @property
    def may_claim(self) -> bool:
        """Whether Redis knows what has ended here; after an outage that goes first, or it would be claimed again.

        A worker that has to end for a stuck job claims no more.
        """
        return not self._finisher.is_behind and not self.stuck

    @property
    def claim_at(self) -> float:
        """The loop's time of the next claim; later than `next_claim_at` while the claim hook is failing."""
        return max(self.next_claim_at, self._paused_until)

    async def settle(self, grace_s: float | None = None, release_s: float = 0.0) -> list[JobOutcome]:
        """Wait until everything claimed is released; after `grace_s` leave the rest to the end of its leases.

        Once all that ended is recorded, only Redis has to hear of it: that is worth `release_s`, not all of `grace_s`.

        Returns:
            The outcomes that were not recorded.
        """
        loop = asyncio.get_running_loop()
        ends_at = math.inf if grace_s is None else loop.time() + grace_s
        has_unrecorded = True
        while pending := self._under_way():
            if grace_s is not None and has_unrecorded and not self.has_unrecorded:
                has_unrecorded = False
                ends_at = min(ends_at, loop.time() + release_s)
            if loop.time() >= ends_at:
                logger.error(
                    "%d jobs left to the end of their leases: %s",
                    len(self._held),
                    ", ".join(self._held),
                    extra=as_event("jobs.left_to_their_leases", jobs=len(self._held), job_ids=list(self._held)),
                )
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending, timeout=1)
                break
            await asyncio.wait(pending, timeout=min(SETTLE_LOOK_S, ends_at - loop.time()))
        if grace_s is not None:
            self._is_settled = True
            self._leases.stop(but=self.stuck)
        return [job.as_outcome() for job in self._finisher.unrecorded]

    @property
    def has_unrecorded(self) -> bool:
        """Whether anything is being run, or has ended and is not recorded; what is stuck does not count."""
        return self._active > len(self.stuck) or bool(self._finisher.unrecorded)

    @property
    def is_only_stuck(self) -> bool:
        """Whether nothing is being run any more but what is stuck."""
        return bool(self.stuck) and self._active <= len(self.stuck)

    def _under_way(self) -> set[asyncio.Task[Any]]:
        """The tasks that have something of a job in their hands, and may end."""
        stuck = {job.task for job in self.stuck}
        tasks = {*self._worker.tasks.values(), *self._admitting, *self._finisher.runners}
        if self._claiming is not None:
            tasks.add(self._claiming)
        return {task for task in tasks if not task.done() and task not in stuck}

    def wake(self) -> None:
        """Have the queues looked at as soon as a slot is free."""
        self.next_claim_at = 0.0
        if self._has_free_slot():
            self.signal.set()

    def cut_off(self, job_id: str, task: asyncio.Task[Any]) -> None:
        """Cancel a job for a shutdown: where it runs; what has ended goes on to its record."""
        job = self._held.get(job_id)
        if job is None:
            task.cancel()
        else:
            self._runner.cancel(job, CancelCause.SHUTDOWN)

    # claim

    async def claim_some(self, limit: int) -> None:
        """Claim up to `limit` jobs, no more than there are free slots, nor `CLAIM_BATCH`.

        Raises:
            RedisError, OSError, TimeoutError: Redis is away.
        """
        limit = min(limit, self.free_slots, CLAIM_BATCH)
        if limit <= 0 or (self._claiming is not None and not self._claiming.done()):
            return
        # What was claimed must be started or handed back, also when the caller is cancelled in between.
        self._claiming = asyncio.get_running_loop().create_task(self.claim(limit))
        await asyncio.shield(self._claiming)

    async def claim(self, limit: int, job_ids: Sequence[bytes] = ()) -> None:
        """Claim up to `limit` due jobs, or those of `job_ids` that are due in the first queue, and start them."""
        worker, options = self._worker, self._options
        token = f"{self._id}:{next(self._claim_numbers)}"
        keys = [abort_jobs_ss, worker.health_check_key, *options.queue_names]
        watches_aborts = int(worker.allow_abort_jobs)
        sizes = [options.max_payload_bytes, CUT_BYTES]
        settings = [token, int(options.lease_s * 1000), RETRY_KEY_TTL_S, CLAIM_BYTES, watches_aborts, *sizes]
        # A message that comes in from here on brings the next claim forward again.
        self.next_claim_at = worker.loop.time() + max(worker.poll_delay_s, SHORTEST_POLL_S)
        try:
            # Leases begin in Redis, and are renewed from the answer on: in a later one others may have the jobs by now.
            async with asyncio.timeout(options.lease_s / 2):
                reply = await self.scripts.call("claim", keys, [*settings, self._turns.passes(limit), *job_ids])
        except BaseException:
            self.next_claim_at = 0.0
            raise
        claimed = read_claim_reply(reply, token=token, queue_names=options.queue_names)
        self._learn(claimed)
        jobs = await self._take_all(claimed)
        worker.job_counter = len(self._held)
        if claimed.unnamed:
            self._admit_beside(self._take_out(claimed.unnamed))
        if jobs:
            self._admit_beside(self._admit(jobs))
        else:
            self.claimed_at = worker.loop.time()

    def _admit_beside(self, work: Coroutine[Any, Any, None]) -> None:
        admitting = self._worker.loop.create_task(work)
        self._admitting.add(admitting)
        admitting.add_done_callback(self._admitting.discard)

    async def _take_out(self, entries: Sequence[UnnamedEntry]) -> None:
        """Have entries that no job can be recorded, then remove them; when that fails, once their leases end."""
        for entry in entries:
            raw_id = entry.raw_id[:LONGEST_TOLD]
            fields = as_event("job.id_unreadable", job_id=repr(raw_id), queue=entry.queue_name)
            logger.error("an entry of %s has an id that is not UTF-8: %r", entry.queue_name, raw_id, extra=fields)
        numbered = [part for entry in entries for part in (entry.raw_id, entry.queue_number)]
        try:
            if self._options.on_complete is not None:
                await self._options.on_complete([entry.as_outcome() for entry in entries])
            await self.scripts.call("take_out", self._options.queue_names, numbered)
        except BaseException as error:
            raise_unless_failure(error)
            told = "%d entries whose ids are not UTF-8 are left to the end of their leases: %s"
            is_defect = not isinstance(error, (*self._options.outages, *REDIS_TROUBLE))
            logger.error(told, len(entries), error, exc_info=is_defect)  # noqa: TRY400 - an outage has no traceback

    async def _take_all(self, claimed: ClaimReply) -> list[HeldJob]:
        """Hold the claimed jobs, and let others have their turn meanwhile: some payloads take long to read."""
        loop = self._worker.loop
        pause_at = loop.time() + READING_S
        taken: list[HeldJob] = []
        for job, requested_at in claimed.jobs:
            if self._take(job, requested_at):
                taken.append(job)
            if loop.time() > pause_at:
                await asyncio.sleep(0)
                pause_at = loop.time() + READING_S
        return taken

    def _learn(self, claimed: ClaimReply) -> None:
        self.queued = claimed.queued
        if not claimed.has_health_key:
            self._on_missing_health()
        if claimed.next_due_in_s is not None:
            wait_s = claimed.next_due_in_s + DUE_MARGIN_S if claimed.next_due_in_s > 0 else 0.0
            self.next_claim_at = min(self.next_claim_at, self._worker.loop.time() + wait_s)

    def _take(self, job: HeldJob, abort_requested_at_ms: float | None) -> bool:
        """Hold a claimed job; False where this very worker still has it, having lost its lease for a while."""
        mine = self._held.get(job.job_id)
        if mine is not None and mine.is_fenced and mine.phase is JobPhase.ENDED:
            mine = None  # its outcome is that of an attempt somebody took over from, who has given the job back
        if mine is not None and mine.is_settled and mine.return_score is None:
            if job.counted_tries > mine.counted_tries:  # it did not end and come anew meanwhile
                return False  # the release under way holds for this claim too
        elif mine is not None and not mine.is_settled:
            mine.token, mine.counted_tries, mine.is_fenced = job.token, job.counted_tries, False
            if abort_requested_at_ms is not None:
                self._runner.cancel(mine, CancelCause.ABORT)
            return False
        self._held[job.job_id] = job
        self._active += 1
        self._leases.hold(job)
        self._reader.read(job, abort_requested_at_ms)
        return True

    async def _admit(self, jobs: list[HeldJob]) -> None:
        refused = await self._ask_hook(jobs)
        if refused is None:
            for job in jobs:
                job.send_back(job.score, spends_try=False)
            self._release(jobs)
            return
        self.claimed_at = self._worker.loop.time()
        dropped = [job for job in jobs if job.job_id in refused]
        for job in dropped:
            job.ends_as = None  # no result either, also of one that could not have run
        self._release(dropped)
        self._start([job for job in jobs if job.job_id not in refused])

    async def _ask_hook(self, jobs: list[HeldJob]) -> Collection[str] | None:
        """The ids that must not run; None when the hook failed."""
        if self._options.on_claim is None:
            return ()
        try:
            refused = frozenset(await self._options.on_claim([job.as_claim() for job in jobs]))
        except BaseException as error:
            raise_unless_failure(error)
            wait_s = self._hook_backoff.next_s()
            self._paused_until = self._worker.loop.time() + wait_s
            is_defect = not isinstance(error, self._options.outages)
            told = "on_claim failed, %d jobs handed back, next claim in %.1fs: %s"
            fields = as_event("claim.hook_failed", jobs=len(jobs), again_in_s=round(wait_s, 2), error=str(error))
            logger.error(told, len(jobs), wait_s, error, exc_info=is_defect, extra=fields)  # noqa: TRY400 - an outage has no traceback
            return None
        self._hook_backoff.reset()
        return refused

    def _start(self, jobs: list[HeldJob]) -> None:
        worker = self._worker
        over: list[HeldJob] = []
        for job in jobs:
            if job.ends_as is not None:
                self._reader.log_not_run(job)
                over.append(job)
            else:
                job.task = worker.tasks[job.job_id] = worker.loop.create_task(self._run(job))
        worker.jobs_failed += len(over)
        self._finish(over)

    # run and end

    async def _run(self, job: HeldJob) -> None:
        try:
            await self._runner.run(job)
        finally:
            if job.released is not None:
                self._forget_task(job)

    def _on_ended(self, job: HeldJob) -> None:
        if self.stuck:
            self.stuck = [other for other in self.stuck if other is not job]  # it came to an end after all
        if self._is_settled:
            self._leases.drop(job)  # whoever claims it next does what is to be done
            return
        if job.return_score is None:
            self._finish([job])
        else:
            self._release([job])
        if self.claim_at <= self._worker.loop.time():
            self.signal.set()

    def _on_stuck(self, job: HeldJob) -> None:
        """Keep its lease, so that nobody else runs it while it goes on, and take no more: the process has to end."""
        assert job.task is not None and job.cancel_cause is not None, "it was cancelled"  # noqa: PT018 - one thought
        self.stuck.append(job)
        logger.error(
            "job %s goes on although it was cancelled %d times (%s), at %s; this worker claims no more, and ends when "
            "its %d other jobs have ended",
            job.reference,
            1 + job.insisted,
            job.cancel_cause.value,
            whereabouts(job.task),
            self._active - len(self.stuck),
            extra=as_event(
                "job.stuck",
                job_id=job.job_id,
                function=job.function_name,
                cancelled=1 + job.insisted,
                cause=job.cancel_cause.value,
                at=whereabouts(job.task),
                others=self._active - len(self.stuck),
            ),
        )
        self.signal.set()

    def _release(self, jobs: list[HeldJob]) -> None:
        self._active -= len(jobs)
        self._finisher.release(jobs)

    def _finish(self, jobs: list[HeldJob]) -> None:
        self._active -= len(jobs)
        if self.failures is not None:
            self.failures += [job for job in jobs if not job.success]
        self._finisher.finish(jobs)

    def _on_released(self, jobs: list[HeldJob]) -> None:
        was_full = not self._has_free_slot()
        for job in jobs:
            if self._held.get(job.job_id) is job:
                del self._held[job.job_id]
            if job.released is None:
                self._forget_task(job)
            elif not job.released.done():
                job.released.set_result(None)
            if job.return_score is not None:
                self.next_claim_at = 0.0
        self._worker.job_counter = len(self._held)
        if was_full or not self._held or self.claim_at <= self._worker.loop.time():
            self.signal.set()

    def _forget_task(self, job: HeldJob) -> None:
        if job.task is not None and self._worker.tasks.get(job.job_id) is job.task:
            del self._worker.tasks[job.job_id]

    def _has_free_slot(self) -> bool:
        return self.free_slots > 0

    async def cancel_aborted(self) -> None:
        """Cancel the running jobs that somebody asked to abort.

        Raises:
            RedisError, OSError, TimeoutError: Redis is away.
        """
        arguments = [abort_job_max_age * 1000, *self._runner.running_ids]
        for job_id_bytes in await self.scripts.call("aborts", [abort_jobs_ss], arguments):
            job_id = job_id_bytes.decode()
            if (job := self._held.get(job_id)) is not None and self._runner.cancel(job, CancelCause.ABORT):
                self._worker.aborting_tasks.add(job_id)
