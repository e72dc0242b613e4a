"""Runs one claimed job: hooks, the function, its time limit, cancellation, and what arq logs about it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from arq.utils import args_to_string, truncate
from arq.worker import Retry, Worker

from everpost_workers.engine.cancellation import comes_from_outside, raise_unless_failure
from everpost_workers.engine.deadlines import Deadlines
from everpost_workers.engine.errors import HandBackError
from everpost_workers.engine.held import HeldJob, JobPhase
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.outcomes import CancelCause, NextStep, OutcomeReason, cause_of, next_step

logger = logging.getLogger("arq.worker")

INSIST_S = 5.0  # seconds until a job that ignores its cancellation is cancelled again
MOST_INSISTED = 3  # how often it is cancelled again before it counts as stuck
LATE_MS = 1200  # from here on arq's log line says how late a job starts


class JobRunner:
    """Runs jobs, each in its own asyncio task, and hands each over when its try has ended.

    Args:
        worker: Its hooks, ctx and settings apply.
        on_ended: Takes a job whose try has ended, in whatever way.
        on_stuck: Takes a job that was cancelled several times and goes on. It may never end.
        clock: Gives Unix milliseconds.
    """

    def __init__(
        self,
        worker: Worker,
        on_ended: Callable[[HeldJob], None],
        on_stuck: Callable[[HeldJob], None],
        clock: Callable[[], int],
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._on_ended = on_ended
        self._on_stuck = on_stuck
        self._running: dict[str, HeldJob] = {}
        self._deadlines: Deadlines[HeldJob] = Deadlines(lambda job: self.cancel(job, CancelCause.TIMEOUT))
        self._cancelled: Deadlines[HeldJob] = Deadlines(self._insist)

    @property
    def running_ids(self) -> list[str]:
        """The ids of the jobs whose function is being run."""
        return list(self._running)

    async def run(self, job: HeldJob) -> None:
        """Run `job` to its end; the body of its task."""
        worker = self._worker
        if not worker.allow_pick_jobs:  # a shutdown came between claim and start
            job.send_back(spends_try=False)
            self._on_ended(job)
            return
        claim = job.claim
        ctx = {
            **worker.ctx,
            "job_id": job.job_id,
            "job_try": claim.job_try,
            "enqueue_time": job.enqueue_time,
            "score": claim.score,
            "holds_lease": job.holds_lease,
        }
        if claim.context is not None:
            ctx["context"] = claim.context
        await self._attempt(job, ctx)
        try:
            if worker.on_job_end is not None:
                await self._call_hook("on_job_end", worker.on_job_end, ctx)
        finally:
            if worker.after_job_end is not None:
                job.released = asyncio.get_running_loop().create_future()
            self._on_ended(job)
        if worker.after_job_end is not None and job.released is not None:
            await job.released
            await self._call_hook("after_job_end", worker.after_job_end, ctx)

    def cancel(self, job: HeldJob, cause: CancelCause) -> bool:
        """Cancel the job; False if it has not begun, has ended, or was cancelled before."""
        if job.task is None or job.cancel_cause is not None or job.phase not in {JobPhase.STARTING, JobPhase.RUNNING}:
            return False
        job.cancel_cause = cause
        job.task.cancel(cause)
        self._cancelled.keep(job, INSIST_S)
        return True

    def _insist(self, job: HeldJob) -> None:
        """Cancel a job again: it goes on, perhaps because it caught the first cancellation."""
        if job.task is None or job.insisted == MOST_INSISTED:
            self._on_stuck(job)
            return
        job.insisted += 1
        job.task.cancel(job.cancel_cause)
        self._cancelled.keep(job, INSIST_S)

    async def _attempt(self, job: HeldJob, ctx: dict[Any, Any]) -> None:
        worker = self._worker
        job.phase = JobPhase.STARTING
        job.start_ms = self._clock()
        try:
            if worker.on_job_start is not None:
                await worker.on_job_start(ctx)
                job.start_ms = self._clock()
            self._begin(job)
            assert job.function is not None, "a job without a function is not run"
            result = await job.function.coroutine(ctx, *job.claim.args, **job.claim.kwargs)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and comes_from_outside(error, job.task):
                raise  # the loop is closed
            self._end_with_error(job, error)
        else:
            job.end(OutcomeReason.COMPLETE, result, self._clock())
            worker.jobs_complete += 1
            if logger.isEnabledFor(logging.INFO):
                self._log_success(job, result)
        finally:
            self._running.pop(job.job_id, None)
            self._deadlines.drop(job)
            worker.job_tasks.pop(job.job_id, None)
            if job.cancel_cause is not None and job.task is not None:
                self._cancelled.drop(job)
                for _ in range(1 + job.insisted):
                    job.task.uncancel()  # the hooks that follow are not cut off

    def _begin(self, job: HeldJob) -> None:
        if not job.holds_lease():  # the hooks took long, and Redis could not be reached
            raise HandBackError(0.0)
        worker = self._worker
        job.phase = JobPhase.RUNNING
        self._running[job.job_id] = job
        if job.task is not None:
            worker.job_tasks[job.job_id] = job.task
        if logger.isEnabledFor(logging.INFO):
            self._log_start(job)
        timeout_s = worker.job_timeout_s
        if job.function is not None and job.function.timeout_s is not None:
            timeout_s = job.function.timeout_s
        if timeout_s is not None:  # None is no limit, as in arq
            self._deadlines.keep(job, timeout_s)

    def _end_with_error(self, job: HeldJob, error: BaseException) -> None:
        worker = self._worker
        step = next_step(error, job.cancel_cause, may_retry=worker.retry_jobs)
        finish_ms = self._clock()
        took_s = (finish_ms - job.start_ms) / 1000
        if step is NextStep.RETRY:
            assert isinstance(error, Retry), "next_step says so"
            defer_ms = error.defer_score or 0
            logger.info("%6.2fs ↻ %s retrying job in %0.2fs", took_s, job.reference, defer_ms / 1000)
            job.send_back(spends_try=True, in_ms=defer_ms)
            worker.jobs_retried += 1
        elif step in {NextStep.RERUN, NextStep.HAND_BACK}:
            in_s = error.in_s if isinstance(error, HandBackError) else 0.0
            said = "cancelled, will be run again" if in_s == 0 else f"not begun, again in {in_s:.2f}s"
            logger.info("%6.2fs ↻ %s %s", took_s, job.reference, said)
            job.send_back(spends_try=step is NextStep.RERUN, in_ms=round(in_s * 1000))
            worker.jobs_retried += 1
        else:
            self._fail(job, step, error, finish_ms)

    def _fail(self, job: HeldJob, step: NextStep, error: BaseException, finish_ms: int) -> None:
        worker = self._worker
        worker.jobs_failed += 1
        took_s = (finish_ms - job.start_ms) / 1000
        if step is NextStep.ABORT:
            worker.aborting_tasks.discard(job.job_id)
            logger.info("%6.2fs ⊘ %s aborted", took_s, job.reference)
            job.end(OutcomeReason.ABORTED, _as_result(error), finish_ms)
            return
        is_timeout = step is NextStep.TIME_OUT
        if is_timeout and isinstance(error, asyncio.CancelledError):
            error = TimeoutError()
        logger.error(
            "%6.2fs ! %s failed, %s: %s",
            took_s,
            job.reference,
            type(error).__name__,
            error,
            exc_info=error,
            extra={"extra": _own_extra(error)}
            | as_event(
                "job.failed",
                job_id=job.job_id,
                function=job.claim.function,
                took_s=round(took_s, 3),
                error=f"{type(error).__name__}: {error}",
            ),
        )
        job.end(OutcomeReason.TIMEOUT if is_timeout else OutcomeReason.FAILED, _as_result(error), finish_ms)

    async def _call_hook(self, name: str, hook: Callable[[dict[Any, Any]], Any], ctx: dict[Any, Any]) -> None:
        try:
            await hook(ctx)
        except BaseException as error:
            raise_unless_failure(error)
            fields = as_event("job.hook_failed", job_id=ctx["job_id"], hook=name)
            logger.exception("%s failed for job %s, which goes on without it", name, ctx["job_id"], extra=fields)

    def _log_start(self, job: HeldJob) -> None:
        claim = job.claim
        extra = f" try={claim.job_try}" if claim.job_try > 1 else ""
        late_ms = job.start_ms - claim.score
        if late_ms > LATE_MS:
            extra += f" delayed={late_ms / 1000:0.2f}s"
        waited_s = (job.start_ms - claim.enqueue_time_ms) / 1000
        logger.info("%6.2fs → %s(%s)%s", waited_s, job.reference, args_to_string(claim.args, claim.kwargs), extra)

    def _log_success(self, job: HeldJob, result: Any) -> None:
        took_s = (job.finish_ms - job.start_ms) / 1000
        shown = ""
        if result is not None and self._worker.log_results:
            try:
                shown = truncate(repr(result))
            except Exception as problem:  # noqa: BLE001 - a failing repr must not undo the outcome
                shown = f"repr() failed: {type(problem).__name__}"
        logger.info("%6.2fs ← %s ● %s", took_s, job.reference, shown)


def _as_result(error: BaseException) -> BaseException:
    """The exception without our cause in it, which a client without this package could not unpickle."""
    is_ours = isinstance(error, asyncio.CancelledError) and cause_of(error) is not None
    return asyncio.CancelledError() if is_ours else error


def _own_extra(error: BaseException) -> Any:
    """The exception's `extra` attribute, or what that method returns, for the log: a convention of arq's."""
    extra = getattr(error, "extra", None)
    if not callable(extra):
        return extra
    try:
        return extra()
    except Exception as problem:  # noqa: BLE001 - a failing method must not undo the outcome
        return f"extra() failed: {problem!r}"
