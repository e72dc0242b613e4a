"""Batches of jobs: jobs that arrive while a batch is worked on become the next batch."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from everpost_workers.engine.held import HeldJob
from everpost_workers.engine.log_fields import as_event

logger = logging.getLogger("arq.worker")


class Collector:
    """Hands all jobs that came in since the last batch to `work`, as one batch.

    Args:
        most: How many batches are worked on at a time.

    Attributes:
        runners: The asyncio tasks that work on batches.
    """

    def __init__(self, work: Callable[[list[HeldJob]], Awaitable[None]], *, most: int = 1) -> None:
        self._work = work
        self._most = most
        self._is_starting = False
        self._apart = 0  # batches that are not counted
        self._waiting: list[HeldJob] = []
        self._batches: list[list[HeldJob]] = []
        self.runners: set[asyncio.Task[None]] = set()

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
        """A block in which the current batch does not count among the `most`."""
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
            self._waiting[:0] = batch  # the worker stops, and reads `unfinished`
            raise
        except Exception:
            # A defect, not an outage. The jobs are kept, with their leases, and tried again.
            fields = as_event("jobs.not_handled", jobs=len(batch), job_id=batch[0].job_id)
            logger.exception("%d ended jobs could not be handled, trying again", len(batch), extra=fields)
            await asyncio.sleep(1)
            self._waiting[:0] = batch
        finally:
            self._batches.remove(batch)

    def _on_done(self, runner: asyncio.Task[None]) -> None:
        self.runners.discard(runner)
        if not runner.cancelled():  # otherwise the worker gives up on what is left
            self._start()
