"""arq's worker with another engine: it claims, leases and finishes jobs in batches, and every end of a job is heard of.

A job's way through this package:

    dispatch.py   claims a batch (claim.lua, claims.py), asks on_claim, starts one task a job
    leases.py     keeps what is held, from a thread (renew.lua, restore.lua)
    running.py    runs a job; outcomes.py decides what follows
    finishing.py  has on_complete record ended jobs, then lets go of them (release.lua)
"""

import asyncio
import contextlib
import inspect
import logging
import math
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from signal import Signals
from typing import Any

from arq.connections import create_pool, log_redis_info
from arq.jobs import Serializer
from arq.typing import SecondsTimedelta
from arq.utils import to_seconds
from arq.worker import FailedJobs, Function, Worker

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.cancellation import cancel_until_done, raise_if_cancelled
from everpost_workers.engine.claims import Claim, HeldJob
from everpost_workers.engine.dispatch import (
    SETTLE_LOOK_S,
    SHORTEST_POLL_S,
    Dispatcher,
    EngineOptions,
    OnClaim,
    OnComplete,
)
from everpost_workers.engine.errors import StuckJobsError
from everpost_workers.engine.health import HealthCheck
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.lua import OnWrongType
from everpost_workers.engine.outcomes import JobOutcome, OutcomeReason
from everpost_workers.engine.trouble import REDIS_TROUBLE, trouble_text
from everpost_workers.engine.wakeup import WakeListener

__all__ = ["BatchWorker", "Claim", "JobOutcome", "OutcomeReason", "StuckJobsError"]

logger = logging.getLogger("arq.worker")

DEFAULT_WAKE_CHANNEL = "everpost:wake"

STALLED_S = 5.0  # without a claim, although there are free slots
LEAST_GRACE_S = 5.0  # for the records and releases of ended jobs


class BatchWorker(Worker):
    """`arq.worker.Worker` with the same parameters, hooks, counters and wire format, and these of its own.

    Other than in arq, a hook of a job ends no worker when it raises (`on_job_start`: its job fails), and a job that
    returns although a shutdown cancelled it has ended. The `arq` command starts arq's own worker: call `run()`.

    Args:
        functions: As in arq, and so are all parameters not named here.
        queue_names: The queues, most urgent first; default `[queue_name]`. Cron jobs go to `queue_name`.
        lease: How long a crashed worker's jobs stay its own; renewed each second, and at least three times in it.
        on_claim: Called with each claimed batch before anything of it starts. It returns the ids of the jobs that must
            not run: they are removed from Redis without a result. When it raises, the whole batch goes back to its
            queues, no try spent, and claiming pauses for a moment.
        on_complete: Called, in batches, with every job that has ended, before Redis forgets it. While it raises it is
            called again, with the same outcomes; delivery is at least once.
        wake_channel: A Redis channel; any message on it makes the worker look for due jobs at once. None only polls.
        own_connections: Claim and release over connections of the engine's own, which costs less; the pool's settings
            for retries do not hold for them. The engine goes on after an outage either way.
        max_payload_bytes: A larger job is not read but ends as one that cannot be; 0 reads any.
        outages: Exceptions that mean "not now" when a hook raises them. They are logged without a traceback.
        on_wrong_type: Called with the pool, and with the types that keys should have, when a key has another type. It
            answers the keys that it moved out of the way; if it moved any, the command is repeated. By default such a
            key counts as trouble with Redis.
        failpoint: Called with the name of a point on a job's way (`release.before`, `release.after`), where a test may
            end the process.
        serializer_like: From a job's payload, b"" if it is gone, the serializer of its result; by default
            `job_serializer` for all.
        on_blocked: Called, in a thread, when a job has blocked the event loop for `blocked_s` seconds, while its worker
            keeps the leases of all it holds; most likely for ever.
        result_index: A Redis key: an index under it tells which results are the oldest, see `scripts/release.lua`.
        slim_results: Leave the arguments out of results of jobs that succeeded; `Job.result()` reads them as before.
        on_stopping: Called when the first signal has come.
        on_left_over: Called once, when the worker closes, with the outcomes that `on_complete` did not take in time.
            Their jobs are left to the end of their leases.
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
        own_connections: bool = False,
        serializer_like: Callable[[bytes], Serializer] | None = None,
        blocked_s: float = math.inf,
        on_blocked: Callable[[], None] | None = None,
        result_index: str | None = None,
        slim_results: bool = False,
        on_stopping: Callable[[], None] | None = None,
        on_left_over: OnComplete | None = None,
        max_payload_bytes: int = 0,
        outages: tuple[type[Exception], ...] = (),
        on_wrong_type: OnWrongType | None = None,
        failpoint: Callable[[str], None] | None = None,
        **arq_settings: Any,
    ) -> None:
        super().__init__(functions, **arq_settings)
        self.options = EngineOptions(
            queue_names=list(queue_names or [self.queue_name]),
            lease_s=to_seconds(lease),
            on_claim=on_claim,
            on_complete=on_complete,
            wake_channel=wake_channel,
            own_connections=own_connections,
            serializer_like=serializer_like,
            blocked_s=blocked_s,
            on_blocked=on_blocked,
            result_index=result_index,
            slim_results=slim_results,
            on_stopping=on_stopping,
            on_left_over=on_left_over,
            max_payload_bytes=max_payload_bytes,
            outages=outages,
            on_wrong_type=on_wrong_type,
            failpoint=failpoint,
        )
        self._health = HealthCheck(self, self.options.queue_names)
        self._dispatcher: Dispatcher | None = None  # built when the pool is there, see `_dispatch`
        self._failures: list[HeldJob] | None = None
        self._next_beat_at = 0.0
        self._runs_in: asyncio.Task[Any] | None = None  # of `main`
        self._has_left = asyncio.Event()
        self._has_left.set()
        self._stop_by: float | None = None
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as nohup has it
        if self._handle_signals and not is_ignored:  # arq handles the other signals
            waits = self._job_completion_wait > 0
            self._add_signal_handler(signal.SIGHUP, self.handle_sig_wait_for_completion if waits else self.handle_sig)

    @property
    def is_consuming(self) -> bool:
        """Whether it takes what is due: it has just looked for jobs, or has its hands full."""
        dispatcher = self._dispatcher
        if dispatcher is None or not self.allow_pick_jobs or dispatcher.stuck:
            return False
        return dispatcher.free_slots <= 0 or self.loop.time() - dispatcher.claimed_at < STALLED_S

    @property
    def stuck_count(self) -> int:
        """How many jobs go on although they were cancelled; with one of them the worker ends soon."""
        return 0 if self._dispatcher is None else len(self._dispatcher.stuck)

    async def main(self) -> None:
        """Run until cancelled, or in burst mode until the queues are empty.

        Raises:
            StuckJobsError: A job does not heed being cancelled, and all others have ended.
        """
        self._runs_in, self._has_left = asyncio.current_task(), asyncio.Event()
        listener = None
        try:
            dispatcher = await self._open()
            if self.options.wake_channel is not None and not self.burst:
                listening = WakeListener(self.pool, self.options.wake_channel, dispatcher.wake).run()
                listener = self.loop.create_task(listening)
            await self._serve(dispatcher)
        finally:
            if listener is not None:
                await cancel_until_done(listener)
            self._has_left.set()

    async def run_check(self, retry_jobs: bool | None = None, max_burst_jobs: int | None = None) -> int:
        """Run, and raise `FailedJobs` if any job failed; unlike arq's it never searches the results in Redis."""
        self._failures = []
        if retry_jobs is not None:
            self.retry_jobs = retry_jobs
        if max_burst_jobs is not None:
            self.max_burst_jobs = max_burst_jobs
        await self.async_run()
        if self.jobs_failed:
            raise FailedJobs(self.jobs_failed, [job.as_result() for job in self._failures])
        return self.jobs_complete

    async def close(self) -> None:
        """Stop claiming, let everything held come to its end, and disconnect.

        After a signal, running jobs were cancelled and go back to their queues. Ended ones are recorded and released
        before this returns, unless that fails until 5 s after `job_completion_wait`: then their leases run out.
        """
        if not self._handle_signals:
            self.handle_sig(signal.SIGUSR1)
        if self.main_task is not None and self.main_task is not asyncio.current_task():
            await cancel_until_done(self.main_task)  # it would connect again
        if self._pool is None:
            return
        dispatcher = self._dispatch()
        await self._settle(dispatcher)
        try:
            await self._health.forget(dispatcher.scripts)
        except REDIS_TROUBLE as error:
            told = trouble_text(error)
            logger.warning("health check not removed: %s", told, extra=as_event("health.not_removed", error=told))
        if self.on_shutdown is not None:
            try:
                await self.on_shutdown(self.ctx)
            except Exception:
                logger.exception("on_shutdown failed", extra=as_event("shutdown.hook_failed"))
        self._dispatcher = None
        dispatcher.signal.set()
        if self._runs_in is not asyncio.current_task():
            with contextlib.suppress(TimeoutError):  # in somebody's own task, which is not ours to cancel
                await asyncio.wait_for(self._has_left.wait(), LEAST_GRACE_S)
        await dispatcher.scripts.close()
        await self._pool.aclose(close_connection_pool=True)
        self._pool = None

    def handle_sig_wait_for_completion(self, signum: Signals) -> None:
        """Stop: no more claims, running jobs may end within `job_completion_wait`."""
        self._begin_stop()
        super().handle_sig_wait_for_completion(signum)

    def handle_sig(self, signum: Signals) -> None:
        """Stop at once: no more claims, running jobs are cancelled and go back without a try spent."""
        self._begin_stop()
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

    def _begin_stop(self) -> None:
        if self._stop_by is None:
            self._stop_by = self.loop.time() + self._job_completion_wait + LEAST_GRACE_S
            if self.options.on_stopping is not None:
                self.options.on_stopping()

    @property
    def stop_by(self) -> float:
        """The loop's time at which a worker that was told to stop gives up on what is not recorded and released."""
        return self.loop.time() + LEAST_GRACE_S if self._stop_by is None else self._stop_by

    async def _sleep_until_tasks_complete(self) -> None:
        """Until all jobs have ended and are recorded; arq waits for Redis to forget them, too."""
        while self._dispatcher is not None and self._dispatcher.has_unrecorded:  # noqa: ASYNC110 - no hot path
            await asyncio.sleep(SETTLE_LOOK_S)

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
            if self._dispatcher is None:
                task.cancel()
            else:
                self._dispatcher.cut_off(job_id, task)
        if self.main_task is not None:
            self.main_task.cancel()
        if self.on_stop is not None:
            self.on_stop(signum)

    async def _settle(self, dispatcher: Dispatcher) -> None:
        if dispatcher.watch is not None:
            dispatcher.watch.stop()
        was_told_to_stop, self.allow_pick_jobs = not self.allow_pick_jobs, False
        if not was_told_to_stop:
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)  # as in arq, for as long as it takes
        left_over = await dispatcher.settle(max(0.0, self.stop_by - self.loop.time()), LEAST_GRACE_S)
        if left_over and self.options.on_left_over is not None:
            try:
                await self.options.on_left_over(left_over)
            except Exception:
                fields = as_event("left_over.hook_failed", jobs=len(left_over))
                logger.exception("on_left_over failed for %d jobs", len(left_over), extra=fields)

    async def _open(self) -> Dispatcher:
        if self._pool is None:
            self._pool = await create_pool(
                self.redis_settings,
                job_deserializer=self.job_deserializer,
                job_serializer=self.job_serializer,
                default_queue_name=self.queue_name,
                expires_extra_ms=self.expires_extra_ms,
            )
        dispatcher = self._dispatch()
        dispatcher.failures = self._failures
        dispatcher.next_claim_at = self._next_beat_at = 0.0
        logger.info("Starting worker for %d functions: %s", len(self.functions), ", ".join(self.functions))
        try:
            await log_redis_info(self.pool, logger.info)
        except REDIS_TROUBLE as error:
            told = trouble_text(error)
            logger.warning("redis is away, waiting for it: %s", told, extra=as_event("redis.away", error=told))
        self.ctx["redis"] = self.pool
        if self.on_startup is not None:
            await self.on_startup(self.ctx)
        return dispatcher

    def _dispatch(self) -> Dispatcher:
        """The dispatcher over the present pool."""
        if self._dispatcher is None:
            missing = self._health.note_missing
            self._dispatcher = Dispatcher(self, self.pool, self.options, on_missing_health=missing)
        return self._dispatcher

    async def _serve(self, dispatcher: Dispatcher) -> None:
        backoff = Backoff(0.05, 1.0)
        while self._dispatcher is dispatcher:  # until closed
            raise_if_cancelled()
            if dispatcher.is_only_stuck:
                self.allow_pick_jobs = False
                self._begin_stop()
                raise StuckJobsError([job.job_id for job in dispatcher.stuck])
            if dispatcher.watch is not None:
                dispatcher.watch.turn()
            try:
                await self._turn(dispatcher)
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
                if self.burst and self._is_burst_over(dispatcher):
                    await dispatcher.settle()
                    return
                await self._pause(dispatcher)

    async def _turn(self, dispatcher: Dispatcher) -> None:
        now = self.loop.time()
        if now >= self._next_beat_at:
            self._next_beat_at = now + max(self.poll_delay_s, SHORTEST_POLL_S)  # first: a failing beat stops no claim
            await self._beat(dispatcher)
        is_burst_idle = self.burst and dispatcher.held_count == 0
        if is_burst_idle or now >= dispatcher.claim_at:
            await dispatcher.claim_some(self._claim_limit(dispatcher))

    async def _poll_iteration(self) -> None:
        """One turn, whatever is due; what Redis raises is raised."""
        dispatcher = self._dispatch()
        await self._beat(dispatcher)
        await dispatcher.claim_some(self._claim_limit(dispatcher))

    async def start_jobs(self, job_ids: Sequence[bytes]) -> None:
        """Claim and start those of these jobs that are due in the first queue and that nobody holds."""
        await self._dispatch().claim(len(job_ids), job_ids)

    async def _beat(self, dispatcher: Dispatcher) -> None:
        await self.heart_beat()
        if self.allow_abort_jobs:
            await dispatcher.cancel_aborted()

    async def _pause(self, dispatcher: Dispatcher) -> None:
        wake_at = self._next_beat_at
        if self._claim_limit(dispatcher) > 0:
            wake_at = min(wake_at, dispatcher.claim_at)
        await dispatcher.signal.wait(max(0.0, wake_at - self.loop.time()))

    def _claim_limit(self, dispatcher: Dispatcher) -> int:
        """How many jobs may be claimed now; 0 while stopping, or while Redis has to hear of ended jobs first."""
        if not self.allow_pick_jobs or not dispatcher.may_claim:
            return 0
        limit = min(self.queue_read_limit, dispatcher.free_slots)
        if self.burst and self.max_burst_jobs >= 0:
            limit = min(limit, self.max_burst_jobs - self._jobs_started())
        return limit

    def _jobs_started(self) -> int:
        under_way = 0 if self._dispatcher is None else self._dispatcher.unfinished
        return self.jobs_complete + self.jobs_retried + self.jobs_failed + under_way

    def _is_burst_over(self, dispatcher: Dispatcher) -> bool:
        if 0 <= self.max_burst_jobs <= self._jobs_started():
            return True
        return dispatcher.queued == 0 and dispatcher.held_count == 0

    async def record_health(self) -> None:
        """Write the health-check entry if it is time to."""
        await self._health.record()

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Enqueue the cron jobs that are due soon; a run that Redis was away for is tried again at the next beat."""
        planned = [(cron_job, cron_job.next_run) for cron_job in self.cron_jobs]
        try:
            await super().run_cron(n, delay, num_windows)
        except BaseException:
            for cron_job, next_run in planned:
                cron_job.next_run = next_run
            raise


def _merged_signature() -> inspect.Signature:
    """All parameters, arq's and ours; arq's command line reads from it which settings a worker takes."""
    own = [p for p in inspect.signature(BatchWorker.__init__).parameters.values() if p.name != "self"]
    arq_parameters = list(inspect.signature(Worker).parameters.values())
    names = {p.name for p in arq_parameters}
    extra = [p for p in own if p.name not in names and p.kind is inspect.Parameter.KEYWORD_ONLY]
    return inspect.Signature([*arq_parameters, *extra])


BatchWorker.__signature__ = _merged_signature()  # type: ignore[attr-defined]  # inspect's own protocol
