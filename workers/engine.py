"""arq's worker with another engine: it claims, leases and finishes jobs in batches, and every end of a job is heard of.

A job's way through this package:

    claims.py     claim.lua takes a batch of due jobs; on_claim may refuse some
    leases.py     renew.lua and restore.lua keep what is held, from a thread
    running.py    one task runs one job
    finishing.py  on_complete records ended jobs, then release.lua lets go of them
"""

import asyncio
import inspect
import itertools
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from signal import Signals
from typing import Any

from arq.connections import create_pool, log_redis_info
from arq.constants import abort_job_max_age, abort_jobs_ss
from arq.jobs import JobResult
from arq.typing import SecondsTimedelta
from arq.utils import ms_to_datetime, timestamp_ms, to_seconds
from arq.worker import FailedJobs, Function, Worker
from redis.commands.core import AsyncScript

from workers.backoff import Backoff
from workers.claims import Claim, ClaimReply, HeldJob, JobPhase, JobReader, QueueTurns, read_claim_reply
from workers.finishing import REDIS_TROUBLE, Finisher, ResultRules
from workers.leases import RETRY_KEY_TTL_S, LeaseKeeper, blocking_client
from workers.lua import script_source
from workers.outcomes import CancelCause, JobOutcome, OutcomeReason
from workers.running import JobRunner
from workers.wakeup import WakeListener, WakeSignal

__all__ = ["BatchWorker", "Claim", "JobOutcome", "OutcomeReason"]

logger = logging.getLogger("arq.worker")

DEFAULT_WAKE_CHANNEL = "everpost:wake"
REDIS_ANSWER_S = 5.0  # a Redis that is silent for longer is away
CLAIM_BYTES = 16 * 1024 * 1024  # the payloads of one claim
SHORTEST_POLL_S = 0.01
LEAST_GRACE_S = 5.0  # what a shutdown gives to the records and releases of jobs that have ended

OnClaim = Callable[[Sequence[Claim]], Awaitable[Collection[str]]]
OnComplete = Callable[[Sequence[JobOutcome]], Awaitable[None]]


class BatchWorker(Worker):
    """`arq.worker.Worker` with the same parameters, hooks, counters and wire format, and these of its own.

    Args:
        functions: As in arq, and so are all parameters not named here.
        queue_names: The queues, most urgent first; default `[queue_name]`. Cron jobs go to `queue_name`.
        lease: How long a crashed worker's jobs stay its own; renewed every third of it.
        on_claim: Called with each claimed batch before anything of it starts. It returns the ids of the jobs that must
            not run: they are removed from Redis without a result. When it raises, the whole batch goes back to its
            queues, no try spent, and claiming pauses for a moment.
        on_complete: Called, in batches, with every job that has ended, before Redis forgets it. While it raises it is
            called again, with the same outcomes; delivery is at least once.
        wake_channel: A Redis channel; any message on it makes the worker look for due jobs at once. None only polls.
    """

    def __init__(
        self,
        functions: Sequence[Function | Any] = (),
        *,
        queue_names: Sequence[str] | None = None,
        lease: SecondsTimedelta = 15,
        on_claim: OnClaim | None = None,
        on_complete: OnComplete | None = None,
        wake_channel: str | None = DEFAULT_WAKE_CHANNEL,
        **arq_settings: Any,
    ) -> None:
        super().__init__(functions, **arq_settings)
        self.queue_names = list(queue_names) if queue_names else [self.queue_name]
        self.lease_s = to_seconds(lease)
        self.on_claim = on_claim
        self.on_complete = on_complete
        self.wake_channel = wake_channel
        self._id = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._claim_numbers = itertools.count(1)
        self._turns = QueueTurns(len(self.queue_names))
        self._reader = JobReader(self.functions, deserializer=self.job_deserializer, max_tries=self.max_tries)
        self._runner = JobRunner(self, self._on_ended)
        self._held: dict[str, HeldJob] = {}
        self._claiming: asyncio.Task[None] | None = None
        self._signal = WakeSignal()
        self._next_beat_at = self._next_claim_at = self._paused_until = 0.0
        self._queued = 0
        self._claim_backoff = Backoff(0.1, 5.0)
        self._failures: list[HeldJob] | None = None
        self._health_entry = b""
        self._connected_pool: object = None

    # -- the life of the worker

    async def main(self) -> None:
        """Run until cancelled, or in burst mode until the queues are empty."""
        await self._open()
        listener = None
        if self.wake_channel is not None and not self.burst:
            listener = self.loop.create_task(WakeListener(self.pool, self.wake_channel, self._on_wake).run())
        try:
            await self._serve()
        finally:
            if listener is not None:
                listener.cancel()
                await asyncio.wait((listener,))

    async def run_check(self, retry_jobs: bool | None = None, max_burst_jobs: int | None = None) -> int:
        """Run, and raise `FailedJobs` if any job failed; unlike arq's it never searches the results in Redis."""
        self._failures = []
        if retry_jobs is not None:
            self.retry_jobs = retry_jobs
        if max_burst_jobs is not None:
            self.max_burst_jobs = max_burst_jobs
        await self.async_run()
        if self.jobs_failed:
            raise FailedJobs(self.jobs_failed, [_job_result(job) for job in self._failures])
        return self.jobs_complete

    async def close(self) -> None:
        """Stop claiming, let everything held come to its end, and disconnect.

        After a signal, running jobs were cancelled and go back to their queues. Ended ones are recorded and released
        before this returns, unless that fails for `job_completion_wait` (at least 5 s): then their leases run out.
        """
        if not self._handle_signals:
            self.handle_sig(signal.SIGUSR1)
        if self._pool is None:
            return
        self._prepare()
        await self._settle()
        try:
            await self._forget_health()
        except REDIS_TROUBLE as error:
            logger.warning("health check not removed: %r", error)
        if self.on_shutdown is not None:
            await self.on_shutdown(self.ctx)
        await self._pool.aclose(close_connection_pool=True)
        self._pool = None

    def handle_sig(self, signum: Signals) -> None:
        """Stop at once: no more claims, running jobs are cancelled and go back without a try spent."""
        sig = Signals(signum)
        logger.info(
            "shutdown on %s ◆ %d jobs complete ◆ %d failed ◆ %d retries ◆ %d ongoing to cancel",
            sig.name,
            self.jobs_complete,
            self.jobs_failed,
            self.jobs_retried,
            len(self.tasks),
        )
        self._cut_off(sig)

    async def _wait_for_tasks_to_complete(self, signum: Signals) -> None:
        try:
            async with asyncio.timeout(self._job_completion_wait):
                await self._sleep_until_tasks_complete()
        except TimeoutError:
            pass
        logger.info(
            "shutdown on %s, wait complete ◆ %d jobs complete ◆ %d failed ◆ %d retries ◆ %d ongoing to cancel",
            signum.name,
            self.jobs_complete,
            self.jobs_failed,
            self.jobs_retried,
            sum(not task.done() for task in self.tasks.values()),
        )
        self._cut_off(signum)

    def _cut_off(self, signum: Signals) -> None:
        self.allow_pick_jobs = False
        for job_id, task in self.tasks.items():
            if task.done():
                continue
            if (job := self._held.get(job_id)) is not None:
                self._runner.cancel(job, CancelCause.SHUTDOWN)
            else:
                task.cancel()
        if self.main_task is not None:
            self.main_task.cancel()
        if self.on_stop is not None:
            self.on_stop(signum)

    async def _settle(self) -> None:
        """Wait for all that is under way here; after a signal not for longer than the grace period."""
        was_told_to_stop, self.allow_pick_jobs = not self.allow_pick_jobs, False
        grace_ends_at = self.loop.time() + max(self._job_completion_wait, LEAST_GRACE_S)
        while pending := self._under_way():
            left_s = grace_ends_at - self.loop.time()
            if not was_told_to_stop and any(not task.done() for task in self.tasks.values()):
                left_s, grace_ends_at = 1.0, self.loop.time() + LEAST_GRACE_S  # as in arq: its jobs may go on
            if left_s <= 0:
                logger.error("%d jobs left to their leases' end: %s", len(self._held), ", ".join(self._held))
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending, timeout=1)
                break
            await asyncio.wait(pending, timeout=left_s)
        self._leases.stop()

    def _under_way(self) -> set[asyncio.Task[Any]]:
        tasks = {*self.tasks.values(), *self._finisher.runners}
        if self._claiming is not None:
            tasks.add(self._claiming)
        return {task for task in tasks if not task.done()}

    async def _open(self) -> None:
        if self._pool is None:
            self._pool = await create_pool(
                self.redis_settings,
                job_deserializer=self.job_deserializer,
                job_serializer=self.job_serializer,
                default_queue_name=self.queue_name,
                expires_extra_ms=self.expires_extra_ms,
            )
        self._prepare()
        self._next_beat_at = self._next_claim_at = 0.0
        logger.info("Starting worker for %d functions: %s", len(self.functions), ", ".join(self.functions))
        try:
            await log_redis_info(self.pool, logger.info)
        except REDIS_TROUBLE as error:
            logger.warning("redis is away, waiting for it: %r", error)
        self.ctx["redis"] = self.pool
        if self.on_startup is not None:
            await self.on_startup(self.ctx)

    def _prepare(self) -> None:
        """Build what belongs to one connection pool; does nothing while the pool is the same."""
        if self._connected_pool is self._pool:
            return
        self._connected_pool = self._pool
        self._scripts: dict[str, AsyncScript] = {
            name: self.pool.register_script(script_source(name))
            for name in ("claim", "release", "aborts", "forget_health")
        }
        connect = partial(blocking_client, self.pool, timeout_s=max(0.2, min(2.0, self.lease_s / 5)))
        self._leases = LeaseKeeper(connect, lease_s=self.lease_s, queue_names=self.queue_names)
        self._finisher = Finisher(
            call=self._call,
            leases=self._leases,
            results=ResultRules(
                keep_result_s=self.keep_result_s,
                is_kept_forever=self.keep_result_forever,
                serializer=self.job_serializer,
            ),
            on_complete=self.on_complete,
            on_released=self._on_released,
            keys=[abort_jobs_ss, *self.queue_names],
            wake_channel=self.wake_channel,
        )

    async def _call(self, script: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        async with asyncio.timeout(REDIS_ANSWER_S):
            return await self._scripts[script](keys=keys, args=arguments)

    # -- the loop

    async def _serve(self) -> None:
        backoff = Backoff(0.05, 1.0)
        while True:
            try:
                await self._turn()
            except REDIS_TROUBLE as error:
                wait_s = backoff.next_s()
                logger.warning("redis trouble, again in %.2fs: %r", wait_s, error)
                await asyncio.sleep(wait_s)
            except Exception:
                logger.exception("the worker's loop failed, it goes on")
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()
                if self.burst and self._is_burst_over():
                    await self._finish_burst()
                    return
                await self._pause()

    async def _turn(self) -> None:
        now = self.loop.time()
        if now >= self._next_beat_at:
            await self._beat()
            self._next_beat_at = now + self._poll_s
        if now >= max(self._next_claim_at, self._paused_until):
            await self._claim_some()

    async def _poll_iteration(self) -> None:
        """One turn without a wait, whatever is due; what Redis raises is raised."""
        self._prepare()
        await self._beat()
        await self._claim_some()

    async def _beat(self) -> None:
        await self.heart_beat()
        if self.allow_abort_jobs:
            await self._cancel_aborted_jobs()

    async def _pause(self) -> None:
        wake_at = self._next_beat_at
        if self._free_slots() > 0:
            wake_at = min(wake_at, max(self._next_claim_at, self._paused_until))
        await self._signal.wait(max(0.0, wake_at - self.loop.time()))

    @property
    def _poll_s(self) -> float:
        return max(self.poll_delay_s, SHORTEST_POLL_S)

    def _is_burst_over(self) -> bool:
        if 0 <= self.max_burst_jobs <= self._jobs_started():
            return True
        return self._queued == 0 and not self._held

    async def _finish_burst(self) -> None:
        while pending := self._under_way():
            await asyncio.wait(pending)

    def _jobs_started(self) -> int:
        under_way = sum(job.phase is not JobPhase.ENDED for job in self._held.values())
        return self.jobs_complete + self.jobs_retried + self.jobs_failed + under_way

    def _free_slots(self) -> int:
        """How many jobs may be claimed now; 0 while stopping."""
        if not self.allow_pick_jobs:
            return 0
        free = min(self.max_jobs - len(self._held), self.queue_read_limit)
        if self.burst and self.max_burst_jobs >= 0:
            free = min(free, self.max_burst_jobs - self._jobs_started())
        return max(0, free)

    def _on_wake(self) -> None:
        self._next_claim_at = 0.0
        if self._free_slots() > 0:
            self._signal.set()

    # -- claiming

    async def start_jobs(self, job_ids: Sequence[bytes]) -> None:
        """Claim and start these jobs of the first queue, those of them that are due and free."""
        self._prepare()
        await self._claim(len(job_ids), job_ids)

    async def _claim_some(self) -> None:
        limit = self._free_slots()
        if limit == 0 or (self._claiming is not None and not self._claiming.done()):
            return
        # What was claimed must be started or handed back, also when the loop is cancelled in between.
        self._claiming = self.loop.create_task(self._claim(limit))
        await asyncio.shield(self._claiming)

    async def _claim(self, limit: int, job_ids: Sequence[bytes] = ()) -> None:
        token = f"{self._id}:{next(self._claim_numbers)}"
        keys = [abort_jobs_ss, self.health_check_key, *self.queue_names]
        watches_aborts = int(self.allow_abort_jobs)
        settings = [token, int(self.lease_s * 1000), RETRY_KEY_TTL_S, CLAIM_BYTES, watches_aborts]
        asked_at = self.loop.time()
        self._next_claim_at = asked_at + self._poll_s  # a message that comes in from here on brings it forward
        try:
            reply = await self._call("claim", keys, [*settings, self._turns.passes(limit), *job_ids])
        except BaseException:
            self._next_claim_at = 0.0
            raise
        claimed = read_claim_reply(reply, token=token, queue_names=self.queue_names)
        self._plan_next_claim(claimed)
        if claimed.jobs:
            await self._accept(claimed)

    def _plan_next_claim(self, claimed: ClaimReply) -> None:
        self._queued = claimed.queued
        if not claimed.has_health_key and time.time() - self._last_health_check > 1:
            self._last_health_check = 0  # another worker took the shared key with it, or Redis lost it
        if claimed.next_due_in_s is not None:
            due_at = self.loop.time() + max(0.0, claimed.next_due_in_s)
            self._next_claim_at = min(self._next_claim_at, due_at)

    async def _accept(self, claimed: ClaimReply) -> None:
        jobs = [job for job, _ in claimed.jobs]
        self._held.update((job.job_id, job) for job in jobs)
        self.job_counter = len(self._held)
        self._leases.hold(jobs)
        for job, abort_requested_at_ms in claimed.jobs:
            self._reader.read(job, abort_requested_at_ms)
        refused = await self._ask_claim_hook(jobs)
        if refused is None:
            for job in jobs:
                job.send_back(job.score, spends_try=False)
            self._finisher.release(jobs)
            return
        self._finisher.release([job for job in jobs if job.job_id in refused])
        self._start([job for job in jobs if job.job_id not in refused])

    async def _ask_claim_hook(self, jobs: list[HeldJob]) -> Collection[str] | None:
        """The ids that must not run; None when the hook failed."""
        if self.on_claim is None:
            return ()
        try:
            refused = frozenset(await self.on_claim([job.as_claim() for job in jobs]))
        except Exception:
            wait_s = self._claim_backoff.next_s()
            self._paused_until = self.loop.time() + wait_s
            logger.exception("on_claim failed, %d jobs handed back, next claim in %.1fs", len(jobs), wait_s)
            return None
        self._claim_backoff.reset()
        return refused

    def _start(self, jobs: list[HeldJob]) -> None:
        over: list[HeldJob] = []
        for job in jobs:
            if job.ends_as is not None:
                self._log_not_run(job)
                over.append(job)
            else:
                job.task = self.tasks[job.job_id] = self.loop.create_task(self._run(job))
        self.jobs_failed += len(over)
        self._finish(over)

    async def _run(self, job: HeldJob) -> None:
        try:
            await self._runner.run(job)
        finally:
            if self.after_job_end is not None and self.tasks.get(job.job_id) is job.task:
                del self.tasks[job.job_id]

    def _log_not_run(self, job: HeldJob) -> None:
        waited_s = (timestamp_ms() - job.enqueue_time_ms) / 1000
        match job.ends_as:
            case OutcomeReason.EXPIRED:
                logger.warning("job %s expired", job.job_id)
            case OutcomeReason.UNDECODABLE:
                logger.error("deserializing job %s failed", job.job_id, exc_info=job.result)
            case OutcomeReason.ABORTED:
                logger.info("%6.2fs ⊘ %s:%s aborted before start", waited_s, job.job_id, job.function_name)
            case OutcomeReason.UNKNOWN_FUNCTION:
                logger.warning("job %s, function %r not found", job.job_id, job.function_name)
            case _:
                limit = self._reader.max_tries_of(job.function)
                logger.warning("%6.2fs ! %s max retries %d exceeded", waited_s, job.reference, limit)

    # -- ending

    def _on_ended(self, job: HeldJob) -> None:
        if job.return_score is None:
            self._finish([job])
        else:
            self._finisher.release([job])

    def _finish(self, jobs: list[HeldJob]) -> None:
        if self._failures is not None:
            self._failures += [job for job in jobs if not job.success]
        self._finisher.finish(jobs)

    def _on_released(self, jobs: list[HeldJob]) -> None:
        for job in jobs:
            if self._held.get(job.job_id) is job:
                del self._held[job.job_id]
            if job.released is not None:
                job.released.set_result(None)
            elif self.tasks.get(job.job_id) is job.task and job.task is not None:
                del self.tasks[job.job_id]
            if job.return_score is not None:
                self._next_claim_at = 0.0
        self.job_counter = len(self._held)
        if self.burst and not self._held:
            self._next_claim_at = 0.0
        if self._next_claim_at <= self.loop.time():
            self._signal.set()

    async def _cancel_aborted_jobs(self) -> None:
        arguments = [abort_job_max_age * 1000, *self._runner.running_ids]
        for job_id_bytes in await self._call("aborts", [abort_jobs_ss], arguments):
            job_id = job_id_bytes.decode()
            if (job := self._held.get(job_id)) is not None and self._runner.cancel(job, CancelCause.ABORT):
                self.aborting_tasks.add(job_id)

    # -- health and cron

    async def record_health(self) -> None:
        """Write the health-check entry if it is time to; arq's text, with the entries of all queues."""
        now = time.time()
        if now - self._last_health_check < self.health_check_interval:
            return
        queued = sum([await self.pool.zcard(name) for name in self.queue_names])
        ongoing = sum(not task.done() for task in self.tasks.values())
        counts = (
            f"j_complete={self.jobs_complete} j_failed={self.jobs_failed} "
            f"j_retried={self.jobs_retried} j_ongoing={ongoing} queued={queued}"
        )
        entry = f"{datetime.now(self.timezone):%b-%d %H:%M:%S} {counts}"
        life_ms = int((self.health_check_interval + 1) * 1000)
        await self.pool.set(self.health_check_key, entry, px=life_ms)
        self._last_health_check, self._health_entry = now, entry.encode()
        if self._last_health_check_log not in {None, counts}:
            logger.info("recording health: %s", entry)
        self._last_health_check_log = counts

    async def _forget_health(self) -> None:
        await self._call("forget_health", [self.health_check_key], [self._health_entry])

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Enqueue the cron jobs that are due soon; a run that Redis was away for is tried again at the next beat."""
        planned = [(cron_job, cron_job.next_run) for cron_job in self.cron_jobs]
        try:
            await super().run_cron(n, delay, num_windows)
        except BaseException:
            for cron_job, next_run in planned:
                cron_job.next_run = next_run
            raise


def _job_result(job: HeldJob) -> JobResult:
    return JobResult(
        function=job.function_name,
        args=job.args,
        kwargs=job.kwargs,
        job_try=job.job_try,
        enqueue_time=ms_to_datetime(job.enqueue_time_ms),
        score=job.score,
        job_id=job.job_id,
        success=job.success,
        result=job.result,
        start_time=ms_to_datetime(job.start_ms),
        finish_time=ms_to_datetime(job.finish_ms),
        queue_name=job.queue_name,
    )


def _merged_signature() -> inspect.Signature:
    """All parameters, arq's and ours; arq's command line reads from it which settings a worker takes."""
    own = [p for p in inspect.signature(BatchWorker.__init__).parameters.values() if p.name != "self"]
    arq_parameters = list(inspect.signature(Worker).parameters.values())
    names = {p.name for p in arq_parameters}
    extra = [p for p in own if p.name not in names and p.kind is inspect.Parameter.KEYWORD_ONLY]
    return inspect.Signature([*arq_parameters, *extra])


BatchWorker.__signature__ = _merged_signature()  # type: ignore[attr-defined]  # inspect's own protocol
