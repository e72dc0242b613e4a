"""The claim hook: before a claimed job starts, the ledger says whether it may run (I1, I6).

Redis may have been restored from an old dump, or have lost its last second; the ledger and the history have not.
"""

from collections.abc import Collection, Sequence

import structlog

from service.clock import Clock
from service.errors import InvalidValue
from service.queue.codec import decoded_data, encoded_data, priority_of, publish_arguments
from service.store.ledger import ClaimFacts, Ledger
from service.task import Task
from workers.claims import Claim
from workers.outcomes import OutcomeReason
from workers.publish import ATTEMPT, AttemptState
from workers.relay import Relay

log = structlog.get_logger("everpost.worker")

LOST_PAYLOAD = frozenset({OutcomeReason.EXPIRED, OutcomeReason.UNDECODABLE})
FOREIGN = "arq"  # what `accepted_by` says of a job that a stock arq client enqueued


class Admission:
    """Decides over claimed jobs, a batch at a time."""

    def __init__(self, ledger: Ledger, relay: Relay, clock: Clock) -> None:
        self._ledger = ledger
        self._relay = relay
        self._clock = clock

    async def admit(self, claims: Sequence[Claim]) -> Collection[str]:
        """The ids of the jobs that must not run; every other gets its `AttemptState`."""
        known, ended = await self._ledger.claim_facts([claim.job_id for claim in claims])
        adopted, refused = await self._adopt(
            [claim for claim in claims if claim.job_id not in known and claim.job_id not in ended]
        )
        ended |= refused
        lost = {claim.job_id for claim in claims if claim.job_id in known and claim.ends_as in LOST_PAYLOAD}
        if ended or lost:
            log.warning("claim.dropped", ended=sorted(ended), payload_lost=sorted(lost))
        if lost:
            self._relay.look_again()  # the ledger has their payloads
        for claim in claims:
            facts = known.get(claim.job_id)
            number = facts.attempts + 1 if facts else claim.job_try
            claim.extra[ATTEMPT] = AttemptState(facts=facts or adopted.get(claim.job_id), number=number)
        return ended | lost

    async def _adopt(self, claims: Sequence[Claim]) -> tuple[dict[str, ClaimFacts], set[str]]:
        """Jobs of stock arq clients get the ledger row nobody wrote for them, so that no crash loses them."""
        now_ms = self._clock()
        tasks = [task for claim in claims if (task := self._task_of(claim, now_ms)) is not None]
        return await self._ledger.adopt_tasks(tasks, now_ms) if tasks else ({}, set())

    @staticmethod
    def _task_of(claim: Claim, now_ms: int) -> Task | None:
        arguments = publish_arguments(claim.args, claim.kwargs)
        try:
            data = decoded_data(arguments.get("task_data"))
            task_data = encoded_data(arguments["task_data"])
        except InvalidValue:
            return None  # recorded as failed when it ends
        return Task(
            task_id=claim.job_id,
            task_data=task_data,
            platform=str(data.get("platform") or ""),
            account_id=str(data.get("account_id") or ""),
            title=str(data.get("title") or ""),
            priority=priority_of(arguments),
            created_at_ms=min(claim.enqueue_time_ms, now_ms),  # the relay passes over what is dated ahead
            accepted_by=FOREIGN,
        )
