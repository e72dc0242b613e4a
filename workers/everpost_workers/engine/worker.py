"""`BatchWorker`: arq's worker over this engine. The package's docstring tells a job's way through it."""

import asyncio
import contextlib
import inspect
import logging
import math
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from arq.connections import create_pool, log_redis_info
from arq.jobs import Serializer
from arq.typing import SecondsTimedelta
from arq.utils import timestamp_ms, to_seconds
from arq.worker import FailedJobs, Function, Worker
from redis.asyncio.sentinel import SentinelConnectionPool

from everpost_workers.engine.cancellation import cancel_until_done
from everpost_workers.engine.claim_loop import ClaimLoop
from everpost_workers.engine.dispatch import Dispatcher
from everpost_workers.engine.errors import StuckJobsError
from everpost_workers.engine.health import HealthCheck
from everpost_workers.engine.held import HeldJob
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.lua import OnWrongType
from everpost_workers.engine.master_watch import watch_of
from everpost_workers.engine.options import EngineOptions, OnClaim, OnComplete, OnReleased
from everpost_workers.engine.stopping import LEAST_GRACE_S, StoppingWorker
from everpost_workers.engine.trouble import REDIS_TROUBLE, trouble_text
from everpost_workers.engine.wakeup import WakeListener

logger = logging.getLogger("arq.worker")

DEFAULT_WAKE_CHANNEL = "everpost:wake"
STALLED_S = 5.0  # without a claim, although there are free slots


def _always() -> bool:
    return True


def _no_failpoint(_: str) -> None:
    """Go on."""


class BatchWorker(StoppingWorker):
    """`arq.worker.Worker` with the same parameters, hooks, counters and wire format, and the parameters below.

    Unlike in arq, a hook of a job ends no worker when it raises (if `on_job_start` raises, its job fails), and a job
    that returns although a shutdown cancelled it has ended. The `arq` command starts arq's own worker: call `run()`.

    Args:
        functions: As in arq, like all parameters not named here.
        queue_names: The queues, most urgent first; by default `[queue_name]`. Cron jobs go to `queue_name`.
        lease: How long the jobs of a crashed worker stay its own. It is renewed each second, and at least three times
            in its life.
        on_claim: Called with each claimed batch before any of it starts. It answers `DROP`, `Later(due_ms)` or
            `Elsewhere(queue)` for the jobs that are not to run now; the others run. If it raises, the whole batch goes
            back to its queues, no try is spent, and claiming pauses for a moment.
        on_complete: Called, in batches, with every job that has ended, before Redis forgets it. If it raises it is
            called again with the same outcomes: delivery is at least once.
        on_released: Called, in batches, with all jobs that the worker no longer holds: those that have ended, went back
            or elsewhere, or were taken over by another worker. It must neither raise nor take long.
        elsewhere_index: A Redis key. A hash under it tells which jobs were answered `Elsewhere`, and where each is.
        event_stream: A Redis key. A stream under it gets an entry for each batch of jobs that ended, or whose try
            failed and that come again later, while there is a hash under the same key with ":state" behind it.
        wake_channel: A Redis channel. On any message there the worker looks for due jobs at once. None only polls.
        own_connections: Claim and release over connections of the engine's own, which costs less. The pool's settings
            for retries do not hold for them. The engine goes on after an outage either way.
        max_payload_bytes: A larger job is not read but ends as undecodable; 0 reads any.
        outages: Exceptions that mean "not now" when a hook raises them. They are logged without a traceback.
        on_wrong_type: Called with the pool, and with the types that keys should have, when a key has another type. It
            answers the keys that it moved out of the way; if it moved any, the command is repeated. By default such a
            key counts as trouble with Redis.
        failpoint: Called with the name of a point on a job's way (`release.before`, `release.after`), where a test may
            end the process.
        may_claim: Asked before each claim; while the answer is False, jobs are left to other workers.
        clock: Gives the times of outcomes and results, in Unix milliseconds.
        serializer_like: Given a job's payload, or b"" if it is gone, answers the serializer of the job's result. By
            default `job_serializer` serves all.
        on_blocked: Called in a thread when a job has blocked the event loop for `blocked_s` seconds. The worker still
            keeps the leases of all it holds, so such a process should end itself.
        result_index: A Redis key. An index under it tells which results are the oldest, see `scripts/release.lua`.
        slim_results: Leave the arguments out of results of jobs that succeeded. `Job.result()` reads them as before.
        on_stopping: Called when the first signal has come.
        on_leftovers: Called once, when the worker closes, with the outcomes that `on_complete` did not take in time.
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
        on_released: OnReleased | None = None,
        elsewhere_index: str | None = None,
        event_stream: str | None = None,
        wake_channel: str | None = DEFAULT_WAKE_CHANNEL,
        own_connections: bool = False,
        serializer_like: Callable[[bytes], Serializer] | None = None,
        blocked_s: float = math.inf,
        on_blocked: Callable[[], None] | None = None,
        result_index: str | None = None,
        slim_results: bool = False,
        on_stopping: Callable[[], None] | None = None,
        on_leftovers: OnComplete | None = None,
        max_payload_bytes: int = 0,
        outages: tuple[type[Exception], ...] = (),
        on_wrong_type: OnWrongType | None = None,
        failpoint: Callable[[str], None] | None = None,
        clock: Callable[[], int] = timestamp_ms,
        may_claim: Callable[[], bool] | None = None,
        **arq_settings: Any,
    ) -> None:
        super().__init__(functions, **arq_settings)
        self.options = EngineOptions(
            queue_names=list(queue_names or [self.queue_name]),
            lease_s=to_seconds(lease),
            on_claim=on_claim,
            on_complete=on_complete,
            on_released=on_released,
            elsewhere_index=elsewhere_index,
            event_stream=event_stream,
            wake_channel=wake_channel,
            own_connections=own_connections,
            serializer_like=serializer_like,
            blocked_s=blocked_s,
            on_blocked=on_blocked,
            result_index=result_index,
            slim_results=slim_results,
            on_stopping=on_stopping,
            on_leftovers=on_leftovers,
            max_payload_bytes=max_payload_bytes,
            outages=outages,
            on_wrong_type=on_wrong_type,
            failpoint=failpoint or _no_failpoint,
            clock=clock,
            may_claim=may_claim or _always,
        )
        self._health = HealthCheck(self, self.options.queue_names)
        self._failures: list[HeldJob] | None = None
        self._runs_in: asyncio.Task[Any] | None = None  # of `main`
        self._has_left = asyncio.Event()
        self._has_left.set()

    # its state

    @property
    def is_consuming(self) -> bool:
        """Whether it takes due jobs: it has just looked for some, or all its slots are taken."""
        dispatcher = self._dispatcher
        if dispatcher is None or not self.allow_pick_jobs or dispatcher.stuck:
            return False
        return dispatcher.free_slots <= 0 or self.loop.time() - dispatcher.claimer.claimed_at < STALLED_S

    @property
    def is_heard(self) -> bool:
        """Whether there was a reader of `event_stream` at the last claim."""
        return self._dispatcher is not None and self._dispatcher.claimer.is_heard

    @property
    def stuck_count(self) -> int:
        """How many jobs go on although they were cancelled; with one of them the worker ends soon."""
        return 0 if self._dispatcher is None else len(self._dispatcher.stuck)

    # run

    async def main(self) -> None:
        """Run until cancelled, or in burst mode until the queues are empty.

        Raises:
            StuckJobsError: A job goes on although it was cancelled, and all others have ended.
        """
        self._runs_in, self._has_left = asyncio.current_task(), asyncio.Event()
        beside: list[asyncio.Task[None]] = []
        try:
            dispatcher = await self._open()
            if (watch := watch_of(self.pool, dispatcher.scripts)) is not None:
                beside.append(self.loop.create_task(watch.run()))
            if self.options.wake_channel is not None and not self.burst:
                listener = WakeListener(self.pool, self.options.wake_channel, dispatcher.wake)
                beside.append(self.loop.create_task(listener.run()))
            await ClaimLoop(self, dispatcher).run()
        except StuckJobsError:
            self.allow_pick_jobs = False
            self._begin_stop()
            raise
        finally:
            await cancel_until_done(*beside)
            self._has_left.set()

    async def run_check(self, retry_jobs: bool | None = None, max_burst_jobs: int | None = None) -> int:
        """Run, and raise `FailedJobs` if any job failed. Unlike arq's it does not search the results in Redis."""
        self._failures = []
        if retry_jobs is not None:
            self.retry_jobs = retry_jobs
        if max_burst_jobs is not None:
            self.max_burst_jobs = max_burst_jobs
        await self.async_run()
        if self.jobs_failed:
            raise FailedJobs(self.jobs_failed, [job.as_result() for job in self._failures])
        return self.jobs_complete

    async def start_jobs(self, job_ids: Sequence[bytes]) -> None:
        """Claim and start those of these jobs that are due in the first queue and that no worker holds."""
        await self._dispatch().claim(len(job_ids), job_ids)

    async def record_health(self) -> None:
        """Write the health-check entry if it is time to."""
        await self._health.record()

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Enqueue the cron jobs that are due soon. If Redis is away, the next beat tries again."""
        planned = [(cron_job, cron_job.next_run) for cron_job in self.cron_jobs]
        try:
            await super().run_cron(n, delay, num_windows)
        except BaseException:
            for cron_job, next_run in planned:
                cron_job.next_run = next_run
            raise

    async def _poll_iteration(self) -> None:
        await ClaimLoop(self, self._dispatch()).turn_once()

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
        dispatcher.claimer.next_at = 0.0
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

    # stop

    async def close(self) -> None:
        """Stop claiming, let all held jobs come to their end, and disconnect.

        After a signal, running jobs were cancelled and go back to their queues. Ended jobs are recorded and released
        before this returns, unless that fails until 5 s after `job_completion_wait`: then their leases run out.
        """
        if not self._handle_signals:
            self.handle_sig(signal.SIGUSR1)
        if self.main_task is not None and self.main_task is not asyncio.current_task():
            await cancel_until_done(self.main_task)  # it would connect again
        if self._pool is None:
            return
        dispatcher = self._dispatch()
        await self._drain(dispatcher)
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
        dispatcher.is_closed = True
        dispatcher.signal.set()
        if self._runs_in is not asyncio.current_task():
            with contextlib.suppress(TimeoutError):  # `main` may run in a task of the caller's, which is not cancelled
                await asyncio.wait_for(self._has_left.wait(), LEAST_GRACE_S)
        await dispatcher.scripts.close()
        await self._pool.aclose(close_connection_pool=True)
        if isinstance(self._pool.connection_pool, SentinelConnectionPool):
            for sentinel in self._pool.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()
        self._pool = None


def _merged_signature() -> inspect.Signature:
    """All parameters, arq's and ours; arq's command line reads from it which settings a worker takes."""
    own = [p for p in inspect.signature(BatchWorker.__init__).parameters.values() if p.name != "self"]
    arq_parameters = list(inspect.signature(Worker).parameters.values())
    names = {p.name for p in arq_parameters}
    extra = [p for p in own if p.name not in names and p.kind is inspect.Parameter.KEYWORD_ONLY]
    return inspect.Signature([*arq_parameters, *extra])


BatchWorker.__signature__ = _merged_signature()  # type: ignore[attr-defined]  # inspect's own protocol
