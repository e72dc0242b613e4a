"""Waits until all jobs of a worker are recorded and released, within limits."""

import asyncio
import logging
import math
from typing import Any

from everpost_workers.engine.dispatch import Dispatcher
from everpost_workers.engine.jobs import JobOutcome
from everpost_workers.engine.log_fields import as_event

logger = logging.getLogger("arq.worker")

LOOK_S = 0.1


async def drain(dispatcher: Dispatcher, grace_s: float | None = None, release_s: float = 0.0) -> list[JobOutcome[Any]]:
    """Wait until all claimed jobs are released; after `grace_s` leave the rest to the end of their leases.

    Once all ended jobs are recorded, only their release is left. It gets `release_s`, not all of `grace_s`.

    Returns:
        The outcomes that were not recorded.
    """
    loop = asyncio.get_running_loop()
    ends_at = math.inf if grace_s is None else loop.time() + grace_s
    was_unrecorded = True
    while pending := dispatcher.pending_tasks:
        if grace_s is not None and was_unrecorded and not dispatcher.has_unrecorded:
            was_unrecorded = False
            ends_at = min(ends_at, loop.time() + release_s)
        if loop.time() >= ends_at:
            await _give_up(dispatcher.held_ids, pending)
            break
        await asyncio.wait(pending, timeout=min(LOOK_S, ends_at - loop.time()))
    if grace_s is not None:
        dispatcher.let_leases_end()
    return [job.as_outcome() for job in dispatcher.unrecorded]


async def _give_up(job_ids: list[str], pending: set[asyncio.Task[Any]]) -> None:
    fields = as_event("jobs.left_to_their_leases", jobs=len(job_ids), job_ids=job_ids)
    logger.error("%d jobs left to the end of their leases: %s", len(job_ids), ", ".join(job_ids), extra=fields)
    for task in pending:
        task.cancel()
    await asyncio.wait(pending, timeout=1)
