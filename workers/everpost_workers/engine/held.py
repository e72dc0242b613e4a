"""A job this worker holds, with everything the engine keeps about it."""

import asyncio
import time
from enum import Enum
from typing import Any

import msgspec
from arq.cron import CronJob
from arq.jobs import JobResult
from arq.utils import ms_to_datetime
from arq.worker import Function

from everpost_workers.engine.jobs import Claim, JobOutcome
from everpost_workers.engine.outcomes import CancelCause, OutcomeReason

NO_TIME = ms_to_datetime(0)
LARGEST_SCORE = 2**53  # Redis keeps scores as doubles, which hold whole milliseconds up to here


SLEEPLESS = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # it goes on while the host sleeps


def now_s() -> float:
    """Seconds of a clock that is never set."""
    return time.clock_gettime(SLEEPLESS)


def whole_score(score: float) -> int:
    """A queue score as a whole number that Redis keeps unchanged; infinite and absurd scores become the nearest one."""
    if -LARGEST_SCORE <= score <= LARGEST_SCORE:  # called for every job: this costs a third of min and max
        return int(score)
    return LARGEST_SCORE if score > 0 else -LARGEST_SCORE


class JobPhase(Enum):
    """The progress of a held job. Only a STARTING or RUNNING job can be cancelled."""

    CLAIMED = "claimed"
    STARTING = "starting"  # inside on_job_start
    RUNNING = "running"
    ENDED = "ended"


class Return(msgspec.Struct, frozen=True):
    """How a job goes back to its queue.

    Attributes:
        action: As `release.lua` reads it: `return` at the score `due`, `return_in` after `due` ms by Redis's clock,
            `return_at` at the score `due` but not at once, `elsewhere` at the score `due` in `queue`.
        tries: What its try counter is set to.
        queue: For `elsewhere`: the key of the sorted set.
    """

    action: str
    due: int
    tries: int
    queue: str = ""


class HeldJob:
    """A job this worker holds the lease of, from its claim until Redis has let go of it.

    Attributes:
        claim: The job as the hooks see it.
        token: The lease's value in Redis, a new one for each claim call.
        counted_tries: The try counter in Redis. `claim.job_try` may be larger: clients can enqueue a job with its own.
        cut_from_bytes: The size of a payload that was too large to be handed over; `claim.payload` is its beginning.
        insisted: How often the job was cancelled again because it went on.
        reason: How the job ended; None while it has not, and if it goes back or is dropped.
        back: How the job goes back to its queue, if it does.
        released: Resolved when Redis has let go of the job, if a hook waits for that.
        leased_until: When its lease ends by `now_s`, at the earliest: its last renewal began a lease before that.
        is_fenced: Another worker has taken the job. The lease thread or the release script found that out.
        is_releasing: The outcome is recorded; the lease thread must not put the job back into Redis any more.
    """

    __slots__ = (
        "back",
        "cancel_cause",
        "claim",
        "counted_tries",
        "cut_from_bytes",
        "enqueue_time",
        "finish_ms",
        "function",
        "insisted",
        "is_fenced",
        "is_releasing",
        "job_id",
        "leased_until",
        "phase",
        "queue_number",
        "reason",
        "released",
        "result",
        "start_ms",
        "task",
        "token",
    )

    def __init__(self, claim: Claim[Any], *, token: str, queue_number: int, start_ms: int) -> None:
        self.claim = claim
        self.job_id = claim.job_id
        self.token = token
        self.queue_number = queue_number
        self.counted_tries = claim.job_try
        self.cut_from_bytes: int | None = None
        self.function: Function | CronJob | None = None
        self.enqueue_time = NO_TIME
        self.phase = JobPhase.CLAIMED
        self.cancel_cause: CancelCause | None = None
        self.insisted = 0
        self.task: asyncio.Task[None] | None = None
        self.reason: OutcomeReason | None = None
        self.result: Any = None
        self.start_ms = self.finish_ms = start_ms
        self.back: Return | None = None
        self.released: asyncio.Future[None] | None = None
        self.leased_until = 0.0
        self.is_fenced = False
        self.is_releasing = False

    @property
    def success(self) -> bool:
        """Whether the function returned."""
        return self.reason is OutcomeReason.COMPLETE

    def holds_lease(self) -> bool:
        """Whether no other worker can have the job yet. If Redis cannot be reached, the lease ends after a while."""
        return not self.is_fenced and now_s() < self.leased_until

    @property
    def restorable_payload(self) -> bytes:
        """What may be put back under the job's key if Redis has lost it; empty if there is nothing whole."""
        return self.claim.payload if self.claim.payload and self.cut_from_bytes is None else b""

    @property
    def reference(self) -> str:
        """The job's name in log lines, as arq writes it."""
        name = self.claim.function
        return name if isinstance(self.function, CronJob) else f"{self.job_id}:{name}"

    def end(self, reason: OutcomeReason, result: Any, finish_ms: int) -> None:
        """Note how the job ends."""
        self.phase = JobPhase.ENDED
        self.reason, self.result, self.finish_ms = reason, result, finish_ms

    def send_back(self, *, spends_try: bool, in_ms: int = 0) -> None:
        """Note that the job goes back to its queue: with its old score, or due `in_ms` from now by Redis's clock."""
        self.phase = JobPhase.ENDED
        tries = self.claim.job_try if spends_try else self.counted_tries - 1
        in_ms = whole_score(in_ms)
        self.back = Return("return_in", in_ms, tries) if in_ms else Return("return", self.claim.score, tries)

    def put_off(self, due_ms: int) -> None:
        """Note that the job goes back to its queue, due at `due_ms`, although it could run; no try is spent."""
        self.phase = JobPhase.ENDED
        self.back = Return("return_at", whole_score(due_ms), self.counted_tries - 1)

    def hand_over(self, queue: str, score: int | None) -> None:
        """Note that the job goes into another sorted set, although it could run; no try is spent."""
        self.phase = JobPhase.ENDED
        due = whole_score(self.claim.score if score is None else score)
        self.back = Return("elsewhere", due, self.counted_tries - 1, queue)

    def as_outcome(self) -> JobOutcome[Any]:
        """What the completion hook gets."""
        assert self.reason is not None, "the job has not ended"
        return JobOutcome(
            claim=self.claim,
            reason=self.reason,
            result=self.result,
            start_ms=self.start_ms,
            finish_ms=self.finish_ms,
            fenced=self.is_fenced,
        )

    def as_result(self) -> JobResult:
        """What arq's `FailedJobs` lists."""
        claim = self.claim
        return JobResult(
            function=claim.function,
            args=claim.args,
            kwargs=claim.kwargs,
            job_try=claim.job_try,
            enqueue_time=self.enqueue_time,
            score=claim.score,
            job_id=self.job_id,
            success=self.success,
            result=self.result,
            start_time=ms_to_datetime(self.start_ms),
            finish_time=ms_to_datetime(self.finish_ms),
            queue_name=claim.queue_name,
        )
