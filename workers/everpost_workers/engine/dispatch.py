"""The jobs that one worker holds, from the claim through the run and the record to the release."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from arq.connections import ArqRedis
from arq.constants import abort_job_max_age, abort_jobs_ss
from arq.worker import Worker

from everpost_workers.engine.admitting import Admitter
from everpost_workers.engine.blocking import blocking_client
from everpost_workers.engine.claiming import Claimer
from everpost_workers.engine.held import HeldJob, JobPhase
from everpost_workers.engine.leases import LeaseKeeper
from everpost_workers.engine.loop_watch import LoopWatch
from everpost_workers.engine.lua import Scripts
from everpost_workers.engine.options import EngineOptions
from everpost_workers.engine.outcomes import CancelCause
from everpost_workers.engine.reading import ClaimReply, JobReader
from everpost_workers.engine.recording import Recorder
from everpost_workers.engine.releasing import Releaser
from everpost_workers.engine.results import ResultRules
from everpost_workers.engine.running import JobRunner
from everpost_workers.engine.stuck import StuckJobs
from everpost_workers.engine.wakeup import WakeSignal

CLAIM_BATCH = 500  # jobs of one claim; Redis serves no other client meanwhile, for a few milliseconds
READING_S = 0.005  # how long payloads are read before other tasks get their turn
UNRELEASED_SHARE = 4  # jobs that may be held per slot; at most one of them runs, and the others have ended


class Dispatcher:
    """Claims, starts, records and releases the jobs of one worker.

    Attributes:
        signal: Set when the claimer's `due_at` may have changed.
        watch: Notices a blocked event loop; None without the hook `on_blocked`.
        is_closed: The worker has closed it: no more claims.
        failures: Jobs that ended without success; kept only if `run_check` has put a list here.
        stuck: Jobs that go on although they were cancelled. They may never end.
    """

    def __init__(
        self, worker: Worker, pool: ArqRedis, options: EngineOptions, *, on_missing_health: Callable[[], None]
    ) -> None:
        self._worker = worker
        self._held: dict[str, HeldJob] = {}
        self._active = 0  # held jobs that have not ended
        self._has_drained = False
        self._claiming: asyncio.Task[None] | None = None
        self.signal = WakeSignal()
        self.is_closed = False
        self.failures: list[HeldJob] | None = None
        self.stuck = StuckJobs()
        self.watch = None if options.on_blocked is None else LoopWatch(options.blocked_s, options.on_blocked)
        self.scripts = Scripts(
            pool,
            zsets=[abort_jobs_ss, *options.queue_names],
            own_connections=options.own_connections,
            on_wrong_type=options.on_wrong_type,
        )
        self._may_claim = options.may_claim
        self._tell_released = options.on_released
        self.claimer = Claimer(worker, self.scripts, options, on_missing_health)
        self._reader = JobReader(worker.functions, deserializer=worker.job_deserializer, max_tries=worker.max_tries)
        self._admitter = Admitter(options, self.scripts, self.claimer, start=self._start, release=self._release)
        self._runner = JobRunner(worker, self._on_ended, self._on_stuck, options.clock)
        client = blocking_client(pool, timeout_s=max(0.2, min(2.0, options.lease_s / 5)))
        self._leases = LeaseKeeper(client, lease_s=options.lease_s, queue_names=options.queue_names, watch=self.watch)
        self._releaser = Releaser(
            scripts=self.scripts,
            leases=self._leases,
            results=ResultRules(worker, options),
            on_released=self._on_released,
            options=options,
        )
        self._recorder = (
            None
            if options.on_complete is None
            else Recorder(options.on_complete, options.outages, hand_on=self._releaser.add)
        )

    # its state

    @property
    def held_count(self) -> int:
        """How many jobs are claimed and not yet released."""
        return len(self._held)

    @property
    def held_ids(self) -> list[str]:
        """The ids of the jobs that are claimed and not yet released."""
        return list(self._held)

    @property
    def unfinished(self) -> int:
        """How many held jobs have not ended."""
        return self._active

    @property
    def free_slots(self) -> int:
        """How many jobs may be claimed. A job that has ended needs no slot, only its record and its release.

        Records and releases wait while the database or Redis is away, so the number of held jobs has a limit too.
        While the completion hook fails, that limit is the number of slots.
        """
        most = self._worker.max_jobs
        share = 1 if self._recorder is not None and self._recorder.is_failing else UNRELEASED_SHARE
        return min(most - self._active, share * most - len(self._held))

    @property
    def may_claim(self) -> bool:
        """Whether claims are allowed: no job is stuck, no release is late, and the worker's owner has no objection.

        After an outage the releases go first, or the same jobs would be claimed again. A worker with a stuck job must
        end.
        """
        return not self._releaser.is_behind and not self.stuck and self._may_claim()

    @property
    def has_unrecorded(self) -> bool:
        """Whether a job runs, or has ended and is not recorded; stuck jobs do not count."""
        return self._active > len(self.stuck) or bool(self.unrecorded)

    @property
    def is_only_stuck(self) -> bool:
        """Whether the only running jobs are stuck ones."""
        return bool(self.stuck) and self._active <= len(self.stuck)

    @property
    def unrecorded(self) -> list[HeldJob]:
        """The ended jobs that the completion hook has not yet taken."""
        return [] if self._recorder is None else self._recorder.unfinished

    def wake(self) -> None:
        """Claim again as soon as a slot is free."""
        self.claimer.next_at = 0.0
        if self.free_slots > 0:
            self.signal.set()

    # claim

    async def claim_some(self, limit: int) -> None:
        """Claim up to `limit` jobs, but no more than there are free slots, nor more than `CLAIM_BATCH`.

        Raises:
            RedisError, OSError, TimeoutError: Redis is away.
        """
        limit = min(limit, self.free_slots, CLAIM_BATCH)
        if limit <= 0 or (self._claiming is not None and not self._claiming.done()):
            return
        # A separate task: claimed jobs must be started or handed back even if the caller is cancelled meanwhile.
        self._claiming = asyncio.get_running_loop().create_task(self.claim(limit))
        await asyncio.shield(self._claiming)

    async def claim(self, limit: int, job_ids: Sequence[bytes] = ()) -> None:
        """Claim up to `limit` due jobs, or those of `job_ids` that are due in the first queue, and admit them."""
        claimed = await self.claimer.claim(limit, job_ids)
        jobs = await self._take_all(claimed)
        self._worker.job_counter = len(self._held)
        self._admitter.admit(jobs, claimed.unnamed)

    async def _take_all(self, claimed: ClaimReply) -> list[HeldJob]:
        """Hold the claimed jobs. Payloads may take long to read, so other tasks get their turn in between."""
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

    def _take(self, job: HeldJob, abort_requested_at_ms: float | None) -> bool:
        """Hold a claimed job. False if this worker has it already: its lease had ended for a while."""
        mine = self._held.get(job.job_id)
        if mine is not None and mine.is_fenced and mine.phase is JobPhase.ENDED:
            mine = None  # another worker took it over and has returned it already: this attempt's outcome is stale
        if mine is not None and mine.is_releasing and mine.back is None:
            if job.counted_tries > mine.counted_tries:  # the counter went on, so it is not a new job
                return False  # the running release also releases this claim
        elif mine is not None and not mine.is_releasing:
            mine.token, mine.counted_tries, mine.is_fenced = job.token, job.counted_tries, False
            if abort_requested_at_ms is not None:
                self._runner.cancel(mine, CancelCause.ABORT)
            return False
        self._held[job.job_id] = job
        self._active += 1
        self._leases.hold(job)
        self._reader.read(job, abort_requested_at_ms)
        return True

    # run

    def _start(self, jobs: list[HeldJob]) -> None:
        worker = self._worker
        over: list[HeldJob] = []
        for job in jobs:
            if job.reason is not None:
                self._reader.log_not_run(job)
                over.append(job)
            else:
                job.task = worker.tasks[job.job_id] = worker.loop.create_task(self._run(job))
        worker.jobs_failed += len(over)
        self._record(over)

    async def _run(self, job: HeldJob) -> None:
        try:
            await self._runner.run(job)
        finally:
            if job.released is not None:
                self._forget_task(job)

    def cut_off(self, job_id: str, task: asyncio.Task[Any]) -> None:
        """Cancel a job for a shutdown, if it still runs. A job that has ended is still recorded."""
        job = self._held.get(job_id)
        if job is None:
            task.cancel()
        else:
            self._runner.cancel(job, CancelCause.SHUTDOWN)

    async def cancel_aborted(self) -> None:
        """Cancel the running jobs that a client asked to abort.

        Raises:
            RedisError, OSError, TimeoutError: Redis is away.
        """
        arguments = [abort_job_max_age * 1000, *self._runner.running_ids]
        for job_id_bytes in await self.scripts.call("aborts", [abort_jobs_ss], arguments):
            job_id = job_id_bytes.decode()
            if (job := self._held.get(job_id)) is not None and self._runner.cancel(job, CancelCause.ABORT):
                self._worker.aborting_tasks.add(job_id)

    def _on_stuck(self, job: HeldJob) -> None:
        self.stuck.add(job, self._active)
        self.signal.set()

    # record and release

    def _on_ended(self, job: HeldJob) -> None:
        self.stuck.remove(job)
        if self._has_drained:
            self._leases.drop(job)  # the lease runs out, and another worker claims the job
            return
        if job.back is None:
            self._record([job])
        else:
            self._release([job])
        if self.claimer.due_at <= self._worker.loop.time():
            self.signal.set()

    def _record(self, jobs: list[HeldJob]) -> None:
        self._active -= len(jobs)
        if self.failures is not None:
            self.failures += [job for job in jobs if not job.success]
        (self._recorder or self._releaser).add(jobs)

    def _release(self, jobs: list[HeldJob]) -> None:
        self._active -= len(jobs)
        self._releaser.add(jobs)

    def _on_released(self, jobs: list[HeldJob]) -> None:
        was_full = self.free_slots <= 0
        if self._tell_released is not None:
            self._tell_released([job.claim for job in jobs])
        for job in jobs:
            if self._held.get(job.job_id) is job:
                del self._held[job.job_id]
            if job.released is None:
                self._forget_task(job)
            elif not job.released.done():
                job.released.set_result(None)
            if job.back is not None:
                self.claimer.next_at = 0.0
        self._worker.job_counter = len(self._held)
        if was_full or not self._held or self.claimer.due_at <= self._worker.loop.time():
            self.signal.set()

    def _forget_task(self, job: HeldJob) -> None:
        if job.task is not None and self._worker.tasks.get(job.job_id) is job.task:
            del self._worker.tasks[job.job_id]

    # stop

    @property
    def pending_tasks(self) -> set[asyncio.Task[Any]]:
        """The asyncio tasks that work on jobs, without those of stuck jobs."""
        stuck = {job.task for job in self.stuck.jobs}
        tasks = {*self._worker.tasks.values(), *self._admitter.tasks, *self._releaser.runners}
        if self._recorder is not None:
            tasks |= self._recorder.runners
        if self._claiming is not None:
            tasks.add(self._claiming)
        return {task for task in tasks if not task.done() and task not in stuck}

    def let_leases_end(self) -> None:
        """Stop renewing the leases of held jobs, except those of stuck jobs."""
        self._has_drained = True
        self._leases.stop(but=self.stuck.jobs)
