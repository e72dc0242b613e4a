"""Claims jobs with one call of `claim.lua` each time that something may be due."""

import asyncio
import itertools
import os
from collections.abc import Callable, Sequence

from arq.constants import abort_jobs_ss
from arq.worker import Worker

from everpost_workers.engine.held import now_s
from everpost_workers.engine.leases import RETRY_KEY_TTL_S
from everpost_workers.engine.lua import Scripts
from everpost_workers.engine.options import EngineOptions
from everpost_workers.engine.reading import ClaimReply, read_claim_reply
from everpost_workers.engine.turns import QueueTurns

CLAIM_BYTES = 16 * 1024 * 1024  # payloads of one claim, if it has more than one job
CUT_BYTES = 65_536  # kept of a payload that is too large
SHORTEST_POLL_S = 0.01
DUE_MARGIN_S = 0.001  # scores are whole milliseconds, so a claim that comes a moment early finds nothing


class Claimer:
    """Claims jobs for one worker, and knows when the next claim makes sense. All times are the loop's.

    Args:
        on_missing_health: Called when the health-check entry is not in Redis.

    Attributes:
        next_at: When a claim makes sense, if slots are free.
        paused_until: No claim before this, whatever `next_at` says: the claim hook is failing.
        claimed_at: When the last claim found nothing, or its jobs were admitted.
        queued: How many entries the queues had at the last claim, held jobs included.
        is_heard: Whether the event stream had a reader at the last claim.
    """

    def __init__(
        self, worker: Worker, scripts: Scripts, options: EngineOptions, on_missing_health: Callable[[], None]
    ) -> None:
        self._worker = worker
        self._scripts = scripts
        self._options = options
        self._on_missing_health = on_missing_health
        state = f"{options.event_stream}:state" if options.event_stream else ""
        self._keys = [abort_jobs_ss, worker.health_check_key, state, *options.queue_names]
        self._id = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._numbers = itertools.count(1)
        self._turns = QueueTurns(len(options.queue_names))
        self.next_at = 0.0
        self.paused_until = 0.0
        self.claimed_at = 0.0
        self.queued = 0
        self.is_heard = False

    @property
    def due_at(self) -> float:
        """When the next claim is due; later than `next_at` while the claim hook is failing."""
        return max(self.next_at, self.paused_until)

    async def claim(self, limit: int, job_ids: Sequence[bytes] = ()) -> ClaimReply:
        """Claim up to `limit` due jobs, or those of `job_ids` that are due in the first queue.

        Raises:
            RedisError, OSError, TimeoutError: Redis is away.
        """
        worker, options = self._worker, self._options
        token = f"{self._id}:{next(self._numbers)}"
        watches_aborts = int(worker.allow_abort_jobs)
        sizes = [options.max_payload_bytes, CUT_BYTES]
        settings = [token, int(options.lease_s * 1000), RETRY_KEY_TTL_S, CLAIM_BYTES, watches_aborts, *sizes]
        # A wake message that comes in from here on brings the next claim forward again.
        self.next_at = worker.loop.time() + max(worker.poll_delay_s, SHORTEST_POLL_S)
        began_s = now_s()
        try:
            # Leases begin in Redis and are renewed only once the answer is here. A later answer may be about jobs that
            # others have claimed by now.
            async with asyncio.timeout(options.lease_s / 2):
                reply = await self._scripts.call("claim", self._keys, [*settings, self._turns.passes(limit), *job_ids])
        except BaseException:
            self.next_at = 0.0
            raise
        claimed = read_claim_reply(reply, token=token, queue_names=options.queue_names, here_ms=options.clock())
        for job, _ in claimed.jobs:
            job.leased_until = began_s + options.lease_s
        self._learn(claimed)
        return claimed

    def _learn(self, claimed: ClaimReply) -> None:
        self.queued, self.is_heard = claimed.queued, claimed.is_heard
        if not claimed.has_health_key:
            self._on_missing_health()
        if claimed.next_due_in_s is not None:
            wait_s = claimed.next_due_in_s + DUE_MARGIN_S if claimed.next_due_in_s > 0 else 0.0
            self.next_at = min(self.next_at, self._worker.loop.time() + wait_s)
