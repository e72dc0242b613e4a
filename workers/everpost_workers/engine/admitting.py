"""Admits claimed jobs: asks the claim hook about them, and carries out its answers."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.cancellation import raise_unless_failure
from everpost_workers.engine.claiming import Claimer
from everpost_workers.engine.held import HeldJob
from everpost_workers.engine.jobs import ClaimAnswer, Drop, Elsewhere, Later
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.lua import Scripts
from everpost_workers.engine.options import EngineOptions
from everpost_workers.engine.reading import LONGEST_TOLD, UnnamedEntry
from everpost_workers.engine.trouble import REDIS_TROUBLE

logger = logging.getLogger("arq.worker")


class Admitter:
    """Admits the jobs of each claim, or gives them back, while further claims go on.

    Args:
        start: Takes the jobs that may run.
        release: Takes the jobs that may not: they are dropped or go back.

    Attributes:
        tasks: The tasks at work.
    """

    def __init__(
        self,
        options: EngineOptions,
        scripts: Scripts,
        claimer: Claimer,
        *,
        start: Callable[[list[HeldJob]], None],
        release: Callable[[list[HeldJob]], None],
    ) -> None:
        self._options = options
        self._scripts = scripts
        self._claimer = claimer
        self._start = start
        self._release = release
        self._backoff = Backoff(0.1, 5.0)
        self.tasks: set[asyncio.Task[None]] = set()

    def admit(self, jobs: list[HeldJob], unnamed: Sequence[UnnamedEntry]) -> None:
        """Begin with the jobs of one claim, and with its entries that are not jobs."""
        if unnamed:
            self._begin(self._take_out(unnamed))
        if jobs:
            self._begin(self._admit(jobs))
        else:
            self._claimer.claimed_at = asyncio.get_running_loop().time()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _admit(self, jobs: list[HeldJob]) -> None:
        answers = await self._ask(jobs)
        if answers is None:
            for job in jobs:
                job.send_back(spends_try=False)
            self._release(jobs)
            return
        self._claimer.claimed_at = asyncio.get_running_loop().time()
        let_in: list[HeldJob] = []
        kept_out: list[HeldJob] = []
        for job in jobs:
            (kept_out if answers and _is_kept_out(job, answers.get(job.job_id)) else let_in).append(job)
        self._release(kept_out)
        self._start(let_in)

    async def _ask(self, jobs: list[HeldJob]) -> Mapping[str, ClaimAnswer] | None:
        """The hook's answers; None if the hook failed: then no claim is made for a while."""
        if self._options.on_claim is None:
            return {}
        try:
            answers = await self._options.on_claim([job.claim for job in jobs])
        except BaseException as error:
            raise_unless_failure(error)
            wait_s = self._backoff.next_s()
            self._claimer.paused_until = asyncio.get_running_loop().time() + wait_s
            is_defect = not isinstance(error, self._options.outages)
            told = "on_claim failed, %d jobs handed back, next claim in %.1fs: %s"
            fields = as_event("claim.hook_failed", jobs=len(jobs), again_in_s=round(wait_s, 2), error=str(error))
            logger.error(told, len(jobs), wait_s, error, exc_info=is_defect, extra=fields)  # noqa: TRY400 - an outage has no traceback
            return None
        self._backoff.reset()
        return answers

    async def _take_out(self, entries: Sequence[UnnamedEntry]) -> None:
        """Have entries recorded that cannot be jobs, then remove them; if that fails, again when their leases end."""
        for entry in entries:
            raw_id = entry.raw_id[:LONGEST_TOLD]
            fields = as_event("job.id_unreadable", job_id=repr(raw_id), queue=entry.queue_name)
            logger.error("an entry of %s has an id that is not UTF-8: %r", entry.queue_name, raw_id, extra=fields)
        numbered = [part for entry in entries for part in (entry.raw_id, entry.queue_number)]
        try:
            if self._options.on_complete is not None:
                await self._options.on_complete([entry.as_outcome() for entry in entries])
            await self._scripts.call("take_out", self._options.queue_names, numbered)
        except BaseException as error:
            raise_unless_failure(error)
            told = "%d entries whose ids are not UTF-8 are left to the end of their leases: %s"
            is_defect = not isinstance(error, (*self._options.outages, *REDIS_TROUBLE))
            logger.error(told, len(entries), error, exc_info=is_defect)  # noqa: TRY400 - an outage has no traceback


def _is_kept_out(job: HeldJob, answer: ClaimAnswer | None) -> bool:
    """Carry out the hook's answer; whether it keeps the job from running."""
    match answer:
        case Drop():
            job.reason = None  # not even a result, also if the job could not have run
            return True
        case Later(due_ms) if job.reason is None:
            job.put_off(due_ms)
            return True
        case Elsewhere(queue, score) if job.reason is None:
            job.hand_over(queue, score)
            return True
    return False
