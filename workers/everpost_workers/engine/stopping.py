"""How a worker stops: on signals, and within its limits."""

import asyncio
import contextlib
import logging
import signal
from signal import Signals
from typing import Any

from arq.worker import Worker

from everpost_workers.engine.dispatch import Dispatcher
from everpost_workers.engine.draining import LOOK_S, drain
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.options import EngineOptions

logger = logging.getLogger("arq.worker")

LEAST_GRACE_S = 5.0  # for the records and releases of ended jobs


class StoppingWorker(Worker):
    """arq's worker with another way to stop: no job that runs or has ended is lost, and no try is spent."""

    options: EngineOptions

    def __init__(self, functions: Any, **arq_settings: Any) -> None:
        super().__init__(functions, **arq_settings)
        self._dispatcher: Dispatcher | None = None  # built when the pool is there
        self._stop_by: float | None = None
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as nohup has it
        if self._handle_signals and not is_ignored:  # arq handles the other signals
            waits = self._job_completion_wait > 0
            self._add_signal_handler(signal.SIGHUP, self.handle_sig_wait_for_completion if waits else self.handle_sig)

    @property
    def stop_by(self) -> float:
        """The loop's time at which a worker that was told to stop gives up on what is not recorded and released."""
        return self.loop.time() + LEAST_GRACE_S if self._stop_by is None else self._stop_by

    def handle_sig_wait_for_completion(self, signum: Signals) -> None:
        """Stop: no more claims, and running jobs may end within `job_completion_wait`."""
        self._begin_stop()
        super().handle_sig_wait_for_completion(signum)

    def handle_sig(self, signum: Signals) -> None:
        """Stop at once: no more claims, and running jobs are cancelled and go back without a try spent."""
        self._begin_stop()
        self._cut_off(Signals(signum), "", ongoing=len(self.tasks))

    def _begin_stop(self) -> None:
        if self._stop_by is None:
            self._stop_by = self.loop.time() + self._job_completion_wait + LEAST_GRACE_S
            if self.options.on_stopping is not None:
                self.options.on_stopping()

    async def _sleep_until_tasks_complete(self) -> None:
        """Wait until all jobs have ended and are recorded; arq waits for Redis to forget them, too."""
        while self._dispatcher is not None and self._dispatcher.has_unrecorded:  # noqa: ASYNC110 - no hot path
            await asyncio.sleep(LOOK_S)

    async def _wait_for_tasks_to_complete(self, signum: Signals) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._job_completion_wait):
                await self._sleep_until_tasks_complete()
        ongoing = sum(not task.done() for task in self.tasks.values())
        self._cut_off(signum, ", wait complete", ongoing=ongoing)

    def _cut_off(self, signum: Signals, told: str, *, ongoing: int) -> None:
        """Cancel all jobs that run, and the loop."""
        counts = (self.jobs_complete, self.jobs_failed, self.jobs_retried, ongoing)
        shown = "shutdown on %s%s ◆ %d jobs complete ◆ %d failed ◆ %d retries ◆ %d ongoing to cancel"
        logger.info(shown, signum.name, told, *counts)
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

    async def _drain(self, dispatcher: Dispatcher) -> None:
        if dispatcher.watch is not None:
            dispatcher.watch.stop()
        was_told_to_stop, self.allow_pick_jobs = not self.allow_pick_jobs, False
        if not was_told_to_stop:
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)  # without a limit, as in arq
        left_over = await drain(dispatcher, max(0.0, self.stop_by - self.loop.time()), LEAST_GRACE_S)
        if left_over and self.options.on_leftovers is not None:
            try:
                await self.options.on_leftovers(left_over)
            except Exception:
                fields = as_event("left_over.hook_failed", jobs=len(left_over))
                logger.exception("on_leftovers failed for %d jobs", len(left_over), extra=fields)
