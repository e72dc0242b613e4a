"""The claim hook: before a claimed job starts, the ledger decides whether it may run (I1, I6).

Redis may have been restored from an old dump, may have lost its last second, or may contain other programs' data. The
ledger and the history do not.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from everpost.clock import Clock, stored_time_ms
from everpost.errors import InvalidValue, UnknownPlatform
from everpost.failpoints import failpoint
from everpost.limits import Scope, lane_of
from everpost.platforms import CALLBACK, Catalogue
from everpost.publishing import Publisher, PublisherClass
from everpost.queue.codec import encoded_data, publish_arguments
from everpost.store import Store
from everpost.store.ledger import ClaimedTasks, ClaimFacts
from everpost.store.meta import CHECKED_AT
from everpost.task.callbacks import is_callback
from everpost.task.earlier_attempts import NOTHING_EARLIER, Earlier, lost_attempts, read_earlier
from everpost.task.model import Attempt, Task
from everpost.task.place import Place
from everpost_workers.attempts.adoption import adoptable_task
from everpost_workers.attempts.attempt import AttemptState, ClaimedTask
from everpost_workers.engine import DROP, ClaimAnswer, Later, OutcomeReason
from everpost_workers.gates.gate import Gate
from everpost_workers.metrics import WorkerMetrics
from everpost_workers.publishers.callback import CallbackPublisher
from everpost_workers.upkeep.relay import Relay

if TYPE_CHECKING:  # only a worker that makes traces loads it
    from everpost_workers.attempts.traced import TracedAttempts

log = structlog.get_logger("everpost.worker")

CROWDED_MS = 300  # until a callback looks again whether there is room
EARLY_MS = 1_000  # a smaller difference of times may be one of clocks

NOT_OURS = frozenset(
    {
        OutcomeReason.EXPIRED,
        OutcomeReason.UNDECODABLE,
        OutcomeReason.UNKNOWN_FUNCTION,  # accepted tasks are all enqueued for `publish`
        OutcomeReason.TRIES_EXHAUSTED,  # no job is claimed `UNLIMITED_TRIES` times
    }
)
"""Ends of a job that show, if its task was accepted here, that its keys in Redis were lost or overwritten."""


def class_of(name: str | None, catalogue: Catalogue, publishers: Mapping[str, Publisher]) -> PublisherClass:
    """The class of a platform's publisher; KEYED, which rules nothing out, for a platform that is gone."""
    try:
        platform = catalogue.find(name or "")
    except UnknownPlatform:
        return PublisherClass.KEYED
    return publishers[platform.name].publisher_class


class Admission:
    """Decides about claimed jobs, a batch at a time.

    Args:
        publishers: By platform name.
        max_body: The most bytes of data that a stock arq client's task may have.
        take_in_leftovers: Records outcomes that workers left behind when they ended.
        traced: Finds the tasks' trace contexts, if traces are on.
    """

    def __init__(
        self,
        store: Store,
        relay: Relay,
        clock: Clock,
        catalogue: Catalogue,
        publishers: Mapping[str, Publisher],
        metrics: WorkerMetrics,
        max_body: int,
        gate: Gate,
        take_in_leftovers: Callable[[], Awaitable[None]],
        traced: "TracedAttempts | None" = None,
    ) -> None:
        self._ledger = store.ledger
        self._changes = store.changes
        self._care = store.care
        self._meta = store.meta
        self._relay = relay
        self._clock = clock
        self._catalogue = catalogue
        self._publishers = publishers
        self._metrics = metrics
        self._max_body = max_body
        self._gate = gate
        self._take_in_leftovers = take_in_leftovers
        self._traced = traced

    async def admit(self, claims: Sequence[ClaimedTask]) -> Mapping[str, ClaimAnswer]:
        """Return the jobs that must not run, or not now; every other job gets its `AttemptState`.

        Raises:
            Unavailable: Something that must be recorded cannot be recorded now.
        """
        failpoint("claim.after")
        if self._care.state().trouble is not None:  # nothing is claimed that could not be recorded
            await self._meta.set(CHECKED_AT, str(self._clock()))
        if any(claim.job_try > 1 for claim in claims):  # a worker that had one may have left its outcome in a file
            await self._take_in_leftovers()
        claimed = await self._ledger.check_claims({claim.job_id: _offered_data(claim) for claim in claims})
        known, ended = claimed.known, claimed.ended
        strangers = [claim for claim in claims if claim.job_id not in known and claim.job_id not in ended]
        adopted, refusals = await self._adopt(strangers)
        ended |= adopted.ended
        lost = {claim.job_id for claim in claims if claim.job_id in known and claim.ends_as in NOT_OURS}
        if ended or lost:
            log.warning("claim.dropped", ended=sorted(ended), payload_lost=sorted(lost))
        if lost:
            self._relay.look_again()  # the ledger has their payloads
        ledger_data = await self._data_of([task_id for task_id in claimed.differing if task_id not in lost], known)
        known |= await self._note_lost_attempts(known, claims)
        for claim in claims:
            job_id = claim.job_id
            if (facts := known.get(job_id)) is not None:
                number, earlier = self._past_of(facts)
            else:  # only Redis has counted
                facts, number, earlier = adopted.known.get(job_id), claim.job_try, NOTHING_EARLIER
            state = AttemptState(task_id=job_id, claims=claim.job_try, facts=facts, number=number, earlier=earlier)
            state.accounts_version = (claimed if job_id in known else adopted).accounts_version
            state.task_data = ledger_data.get(job_id)
            state.refusal = refusals.get(job_id)
            claim.context = state
        if self._traced is not None:
            await self._find_traces(self._traced, claims)
        answers: dict[str, ClaimAnswer] = dict.fromkeys(ended | lost, DROP)
        answers |= self._early(claims, known)
        answers |= self._crowded(claims, answers)
        if not self._gate.known.is_empty and (gated := self._gated_among(claims, answers)):
            answers |= await self._gate.ask(gated)
        self._metrics.count_claims(claims, answers)
        return answers

    async def _find_traces(self, traced: "TracedAttempts", claims: Sequence[ClaimedTask]) -> None:
        found = await traced.find([claim.job_id for claim in claims])
        for claim in claims:
            if claim.context is not None:
                claim.context.trace = found.get(claim.job_id)

    def _gated_among(
        self, claims: Sequence[ClaimedTask], answers: Mapping[str, ClaimAnswer]
    ) -> list[tuple[ClaimedTask, Scope, int]]:
        """The jobs that would run and have a limit, or are held, as `Gate.ask` takes them.

        A task that is too late to begin is not among them: it ends without room for it.
        """
        gated: list[tuple[ClaimedTask, Scope, int]] = []
        for claim in claims:
            state = claim.context
            if state is None or claim.ends_as is not None or state.refusal is not None or claim.job_id in answers:
                continue
            platform = self._gate.known.concern(state.platform or "")
            if platform is None:
                continue
            lane = lane_of(platform, _account_of(state.task_data or _offered_data(claim)))
            if self._gate.known.have(lane) and not state.is_missed_at(self._clock()):
                gated.append((claim, lane, self._late_ms(claim, state.facts)))
        return gated

    def _early(self, claims: Sequence[ClaimedTask], known: Mapping[str, ClaimFacts]) -> dict[str, ClaimAnswer]:
        """Jobs whose tasks are due later: Redis has an earlier time, from before the task was rescheduled."""
        early: dict[str, ClaimAnswer] = {}
        for claim in claims:
            facts = known.get(claim.job_id)
            if facts is not None and facts.due_at is not None and claim.ends_as is None:
                due_ms = stored_time_ms(facts.due_at) or 0
                if due_ms > self._clock() + EARLY_MS:
                    early[claim.job_id] = Later(self._by_redis(due_ms, claim))
        return early

    def _crowded(self, claims: Sequence[ClaimedTask], answers: Mapping[str, ClaimAnswer]) -> dict[str, ClaimAnswer]:
        """Callbacks for which there is no room: they go back to their queue, without an attempt."""
        callbacks = [one for one in claims if is_callback(one.job_id) and one.job_id not in answers]
        if not callbacks or not isinstance(publisher := self._publishers.get(CALLBACK), CallbackPublisher):
            return {}
        later_ms = self._clock() + CROWDED_MS
        return {one.job_id: Later(self._by_redis(later_ms, one)) for one in callbacks[publisher.room :]}

    def _late_ms(self, claim: ClaimedTask, facts: ClaimFacts | None) -> int:
        """The latest time at which a task may begin, by the clock of Redis; 0 is no limit."""
        late_ms = None if facts is None or facts.late_at is None else stored_time_ms(facts.late_at)
        return 0 if late_ms is None else self._by_redis(late_ms, claim)

    def _by_redis(self, time_ms: int, claim: ClaimedTask) -> int:
        """A time of the store, by the clock of Redis."""
        ahead_ms = claim.claimed_ms - self._clock()
        return time_ms + ahead_ms if abs(ahead_ms) >= EARLY_MS else time_ms  # as in enqueue.lua

    def _past_of(self, facts: ClaimFacts) -> tuple[int, Earlier]:
        """The number of the attempt that begins, and what is known of the earlier ones."""
        if facts.attempts is None:
            return 1, NOTHING_EARLIER
        earlier = read_earlier(facts.attempts, self._class_of(facts))
        return earlier.last + 1, earlier

    async def _data_of(self, differing: Sequence[str], known: Mapping[str, ClaimFacts]) -> dict[str, bytes]:
        """The ledger's data of tasks of which Redis has other data; the ledger's is published."""
        found: dict[str, bytes] = {}
        for task_id in differing:
            (task,) = await self._changes.find([task_id], whole=True)
            used = "redis"
            if (data := task.data) is not None and data.place is Place.LEDGER and not data.is_rebuilt:
                found[task_id], used = data.task_data, "ledger"
            log.error("task.data_differs", task_id=task_id, platform=known[task_id].platform, used=used)
        return found

    async def _note_lost_attempts(
        self, known: Mapping[str, ClaimFacts], claims: Sequence[ClaimedTask]
    ) -> dict[str, ClaimFacts]:
        """Write attempts that never reported into the ledger, before anything else happens to their tasks."""
        counted = [claim for claim in claims if claim.ends_as is not OutcomeReason.TRIES_EXHAUSTED]
        tries = {claim.job_id: claim.job_try for claim in counted if claim.job_id in known}

        def lost_attempts_of(facts: ClaimFacts) -> list[Attempt]:
            return lost_attempts(facts.attempts, facts.sending, tries[facts.task_id], self._class_of(facts))

        lost = {
            task_id: [attempt.number for attempt in attempts]
            for task_id, job_try in sorted(tries.items())
            if (job_try > 1 or known[task_id].sending is not None) and (attempts := lost_attempts_of(known[task_id]))
        }
        if not lost:
            return {}
        log.warning("attempts.lost", attempts=lost)
        return await self._ledger.note_lost_attempts(lost, lost_attempts_of)

    def _class_of(self, facts: ClaimFacts) -> PublisherClass:
        return class_of(facts.platform, self._catalogue, self._publishers)

    async def _adopt(self, claims: Sequence[ClaimedTask]) -> tuple[ClaimedTasks, dict[str, str]]:
        """Give jobs of stock arq clients a ledger row, so that no crash loses them.

        Returns what the store knows of them then, and why the others are not tasks.
        """
        now_ms = self._clock()
        tasks: list[Task] = []
        refusals: dict[str, str] = {}
        for claim in claims:
            found = adoptable_task(claim, now_ms, self._max_body)
            if isinstance(found, Task):
                tasks.append(found)
            elif found is not None:
                refusals[claim.job_id] = found
        if not tasks:
            return ClaimedTasks({}, set(), []), refusals
        adopted = await self._ledger.adopt(tasks, now_ms)
        for facts in adopted.known.values():
            self._metrics.count_accepted(facts.platform)
        return adopted, refusals


class _Account(msgspec.Struct):
    account_id: Any = None


def _account_of(task_data: bytes | None) -> str:
    """The account in a task's data, as the ledger's column has it; empty if the data names no account."""
    try:
        account_id = msgspec.json.decode(task_data or b"{}", type=_Account).account_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
    return str(account_id or "")


def _offered_data(claim: ClaimedTask) -> bytes | None:
    """The task's data in Redis, encoded as in the ledger; None if it is missing or cannot be encoded."""
    offered = publish_arguments(claim.args, claim.kwargs).get("task_data")
    if isinstance(offered, bytes):
        return offered
    try:
        return encoded_data(offered)
    except InvalidValue:
        return None
