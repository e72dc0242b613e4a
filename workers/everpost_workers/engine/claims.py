"""A claimed job: what the claim hook sees of it, and what the engine knows while it holds it."""

import asyncio
from enum import Enum
from typing import Any

import msgspec
from arq.cron import CronJob
from arq.jobs import JobResult
from arq.utils import ms_to_datetime
from arq.worker import Function

from everpost_workers.engine.outcomes import CancelCause, JobOutcome, OutcomeReason

UNKNOWN_FUNCTION_NAME = "<unknown>"
NO_TIME = ms_to_datetime(0)
LARGEST_SCORE = 2**53  # up to here Redis, whose scores are doubles, knows whole milliseconds


def whole_score(score: float) -> int:
    """A queue score as a whole number that Redis keeps as it is; infinite and absurd ones become the next best."""
    if -LARGEST_SCORE <= score <= LARGEST_SCORE:  # asked of every job: a third of what min and max cost
        return int(score)
    return LARGEST_SCORE if score > 0 else -LARGEST_SCORE


class Claim(msgspec.Struct, kw_only=True):
    """A claimed job as the claim hook sees it, before anything of it starts.

    Attributes:
        score: The queue score in Unix milliseconds: when the job became due.
        ends_as: It will not run but end with this reason; None: it will run.
        payload: The bytes under the job's key; None where they are gone.
        extra: The hook's to fill; merged into the job's ctx and handed on to its `JobOutcome`.
    """

    job_id: str
    job_try: int
    queue_name: str
    score: int
    enqueue_time_ms: int
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    ends_as: OutcomeReason | None
    payload: bytes | None
    extra: dict[str, Any]


class JobPhase(Enum):
    """How far a held job is; a cancellation is delivered while it is STARTING or RUNNING only."""

    CLAIMED = "claimed"
    STARTING = "starting"  # inside on_job_start
    RUNNING = "running"
    ENDED = "ended"


class HeldJob:
    """A job this worker holds the lease of, from its claim until Redis has let go of it.

    Attributes:
        token: The lease's value in Redis, one for each claim call.
        cut_from_bytes: The size of a payload that was too large to be handed over; `payload` is its beginning.
        counted_tries: The try counter in Redis; `job_try` is larger when the job was enqueued with a try of its own.
        insisted: How often it was cancelled again because it did not heed that.
        is_fenced: Somebody else has taken the job; set by the lease thread or by the release script.
        is_settled: The outcome is recorded: from here on nobody may put the job back into Redis.
    """

    __slots__ = (
        "args",
        "cancel_cause",
        "counted_tries",
        "cut_from_bytes",
        "ends_as",
        "enqueue_time",
        "enqueue_time_ms",
        "extra",
        "finish_ms",
        "function",
        "function_name",
        "insisted",
        "is_fenced",
        "is_settled",
        "job_id",
        "job_try",
        "kwargs",
        "payload",
        "phase",
        "queue_name",
        "queue_number",
        "released",
        "result",
        "return_in_ms",
        "return_score",
        "return_tries",
        "score",
        "start_ms",
        "success",
        "task",
        "token",
    )

    def __init__(
        self, job_id: str, *, token: str, queue_name: str, queue_number: int, score: int, tries: int, start_ms: int
    ) -> None:
        self.job_id = job_id
        self.token = token
        self.queue_name = queue_name
        self.queue_number = queue_number
        self.score = score
        self.counted_tries = self.job_try = tries
        self.payload: bytes | None = None
        self.cut_from_bytes: int | None = None
        self.function_name = UNKNOWN_FUNCTION_NAME
        self.function: Function | CronJob | None = None
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.enqueue_time_ms = 0
        self.enqueue_time = NO_TIME
        self.extra: dict[str, Any] = {}
        self.phase = JobPhase.CLAIMED
        self.cancel_cause: CancelCause | None = None
        self.insisted = 0
        self.task: asyncio.Task[None] | None = None
        self.ends_as: OutcomeReason | None = None
        self.success = False
        self.result: Any = None
        self.start_ms = self.finish_ms = start_ms
        self.return_score: int | None = None
        self.return_in_ms = 0
        self.return_tries = 0
        self.released: asyncio.Future[None] | None = None
        self.is_fenced = False
        self.is_settled = False

    @property
    def restorable_payload(self) -> bytes:
        """What may be put back under the job's key, should Redis have lost it; empty if there is nothing whole."""
        return self.payload if self.payload and self.cut_from_bytes is None else b""

    @property
    def is_cron(self) -> bool:
        """Whether the function is a cron job."""
        return isinstance(self.function, CronJob)

    @property
    def reference(self) -> str:
        """How log lines call the job, as in arq."""
        return self.function_name if self.is_cron else f"{self.job_id}:{self.function_name}"

    def end(self, reason: OutcomeReason, result: Any, finish_ms: int) -> None:
        """Write down how the job ends."""
        self.phase = JobPhase.ENDED
        self.ends_as, self.result, self.finish_ms = reason, result, finish_ms
        self.success = reason is OutcomeReason.COMPLETE

    def send_back(self, score: int, *, spends_try: bool, in_ms: int = 0) -> None:
        """Write down that the job goes back to its queue, due at `score` (Unix ms), or `in_ms` by Redis's clock."""
        self.phase = JobPhase.ENDED
        self.return_score = score
        self.return_in_ms = whole_score(in_ms)
        self.return_tries = self.job_try if spends_try else self.counted_tries - 1

    def as_claim(self) -> Claim:
        """What the claim hook gets."""
        return Claim(
            job_id=self.job_id,
            job_try=self.job_try,
            queue_name=self.queue_name,
            score=self.score,
            enqueue_time_ms=self.enqueue_time_ms,
            function=self.function_name,
            args=self.args,
            kwargs=self.kwargs,
            ends_as=self.ends_as,
            payload=self.payload,
            extra=self.extra,
        )

    def as_outcome(self) -> JobOutcome:
        """What the completion hook gets."""
        assert self.ends_as is not None, "the job has not ended"
        return JobOutcome(
            job_id=self.job_id,
            function=self.function_name,
            args=self.args,
            kwargs=self.kwargs,
            job_try=self.job_try,
            enqueue_time_ms=self.enqueue_time_ms,
            success=self.success,
            result=self.result,
            start_ms=self.start_ms,
            finish_ms=self.finish_ms,
            queue_name=self.queue_name,
            reason=self.ends_as,
            payload=self.payload,
            extra=self.extra,
            fenced=self.is_fenced,
        )

    def as_result(self) -> JobResult:
        """What `FailedJobs` lists."""
        return JobResult(
            function=self.function_name,
            args=self.args,
            kwargs=self.kwargs,
            job_try=self.job_try,
            enqueue_time=self.enqueue_time,
            score=self.score,
            job_id=self.job_id,
            success=self.success,
            result=self.result,
            start_time=ms_to_datetime(self.start_ms),
            finish_time=ms_to_datetime(self.finish_ms),
            queue_name=self.queue_name,
        )
