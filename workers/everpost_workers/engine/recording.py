"""Has the completion hook record ended jobs, in batches."""

import logging
import random
from asyncio import sleep
from collections.abc import Callable
from contextlib import nullcontext

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.cancellation import raise_unless_failure
from everpost_workers.engine.collecting import Collector
from everpost_workers.engine.held import HeldJob
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.options import OnComplete

logger = logging.getLogger("arq.worker")

RECORDS_AT_ONCE = 4  # batches at a time: the next one is ready when the database has committed the last


class Recorder(Collector):
    """Calls the completion hook with ended jobs, with backoff, until it takes them. Then it hands them on.

    Args:
        outages: Exceptions of the hook that mean "not now".
        hand_on: Takes the jobs that are recorded.

    Attributes:
        is_failing: Whether the hook raised when it was last called.
    """

    def __init__(
        self, on_complete: OnComplete, outages: tuple[type[Exception], ...], hand_on: Callable[[list[HeldJob]], None]
    ) -> None:
        super().__init__(self._record, most=RECORDS_AT_ONCE)
        self._on_complete = on_complete
        self._outages = outages
        self._hand_on = hand_on
        self.is_failing = False

    async def _record(self, batch: list[HeldJob]) -> None:
        backoff = Backoff(0.1, 5.0, jitter=lambda: random.uniform(0.75, 1.25))  # noqa: S311 - not a secret
        while True:
            try:
                await self._on_complete([job.as_outcome() for job in batch])
            except BaseException as error:  # noqa: BLE001 - `_wait` logs it
                raise_unless_failure(error)
                self.is_failing = True
                await self._wait(batch, error, backoff.next_s())
            else:
                self.is_failing = False
                break
        self._hand_on(batch)

    async def _wait(self, batch: list[HeldJob], error: BaseException, wait_s: float) -> None:
        is_defect = not isinstance(error, self._outages)
        told = "on_complete failed for %d jobs, calling it again in %.1fs: %s"
        fields = as_event("complete.hook_failed", jobs=len(batch), again_in_s=round(wait_s, 2), error=str(error))
        logger.error(told, len(batch), wait_s, error, exc_info=error if is_defect else None, extra=fields)
        with self.apart() if is_defect else nullcontext():  # other batches can be recorded, even if this one never can
            await sleep(wait_s)
