"""A claimed job: what the claim script hands over, what the claim hook sees, and what the engine knows of it."""

import asyncio
import pickle
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec
from arq.cron import CronJob
from arq.jobs import DeserializationError, Deserializer
from arq.worker import Function, JobExecutionFailed

from workers.outcomes import CancelCause, JobOutcome, OutcomeReason

UNKNOWN_FUNCTION_NAME = "<unknown>"
RESERVED_SHARE = 10  # one slot in so many is kept for the less urgent queues


class Claim(msgspec.Struct, kw_only=True):
    """A claimed job as the claim hook sees it, before anything of it starts.

    Attributes:
        score: The queue score in Unix milliseconds: when the job became due.
        ends_as: It will not run but end with this reason; None: it will run.
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
        counted_tries: The try counter in Redis; `job_try` is larger when the job was enqueued with a try of its own.
        is_fenced: Somebody else has taken the job; set by the lease thread or by the release script.
        is_settled: The outcome is recorded: from here on nobody may put the job back into Redis.
    """

    __slots__ = (
        "args",
        "cancel_cause",
        "counted_tries",
        "deadline",
        "ends_as",
        "enqueue_time_ms",
        "extra",
        "finish_ms",
        "function",
        "function_name",
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
        self.function_name = UNKNOWN_FUNCTION_NAME
        self.function: Function | CronJob | None = None
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.enqueue_time_ms = 0
        self.extra: dict[str, Any] = {}
        self.phase = JobPhase.CLAIMED
        self.cancel_cause: CancelCause | None = None
        self.task: asyncio.Task[None] | None = None
        self.deadline: float | None = None
        self.ends_as: OutcomeReason | None = None
        self.success = False
        self.result: Any = None
        self.start_ms = self.finish_ms = start_ms
        self.return_score: int | None = None
        self.return_tries = 0
        self.released: asyncio.Future[None] | None = None
        self.is_fenced = False
        self.is_settled = False

    @property
    def is_cron(self) -> bool:
        """Whether the function is a cron job; arq tells them apart by this attribute."""
        return hasattr(self.function, "next_run")

    @property
    def reference(self) -> str:
        """How log lines call the job, as in arq."""
        return self.function_name if self.is_cron else f"{self.job_id}:{self.function_name}"

    def end(self, reason: OutcomeReason, result: Any, finish_ms: int) -> None:
        """Write down how the job ends."""
        self.phase = JobPhase.ENDED
        self.ends_as, self.result, self.finish_ms = reason, result, finish_ms
        self.success = reason is OutcomeReason.COMPLETE

    def send_back(self, score: int, *, spends_try: bool) -> None:
        """Write down that the job goes back to its queue, due at `score` (Unix ms)."""
        self.phase = JobPhase.ENDED
        self.return_score = score
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


class ClaimReply(msgspec.Struct, frozen=True):
    """What `claim.lua` answers.

    Attributes:
        jobs: The claimed jobs, each with the time of an abort request for it, if there is one.
        next_due_in_s: Seconds until the earliest entry left is due, 0 or less if it is; None: nothing is left.
        queued: How many entries all queues have, held jobs included.
    """

    jobs: list[tuple[HeldJob, float | None]]
    next_due_in_s: float | None
    queued: int
    has_health_key: bool


def read_claim_reply(reply: Sequence[Any], *, token: str, queue_names: Sequence[str]) -> ClaimReply:
    """Decode the reply of `claim.lua`; it describes the fields."""
    now_ms, next_score, queued, has_health_key = reply[:4]
    jobs: list[tuple[HeldJob, float | None]] = []
    fields = iter(reply[4:])
    for job_id, number, score, tries, payload, requested_at in zip(*[fields] * 6, strict=True):
        held = HeldJob(
            job_id.decode(),
            token=token,
            queue_name=queue_names[number - 1],
            queue_number=number,
            score=int(float(score)),
            tries=tries,
            start_ms=now_ms,
        )
        held.payload = payload
        jobs.append((held, None if requested_at is None else float(requested_at)))
    next_due_in_s = None if next_score is None else (float(next_score) - now_ms) / 1000
    return ClaimReply(jobs, next_due_in_s, queued, bool(has_health_key))


class JobReader:
    """Decodes payloads and finds out whether a claimed job can run at all.

    Args:
        functions: The worker's registered functions by name.
        max_tries: The worker's default; a function's own wins.
    """

    def __init__(
        self, functions: Mapping[str, Function | CronJob], *, deserializer: Deserializer | None, max_tries: int
    ) -> None:
        self._functions = functions
        self._deserialize = deserializer or pickle.loads
        self._max_tries = max_tries

    def read(self, held: HeldJob, abort_requested_at_ms: float | None) -> None:
        """Fill in what the payload says; end the job here if it cannot run. The order is arq's."""
        if not held.payload:
            held.end(OutcomeReason.EXPIRED, JobExecutionFailed("job expired"), held.start_ms)
            return
        try:
            self._decode(held, held.payload)
        except DeserializationError as error:
            held.end(OutcomeReason.UNDECODABLE, error, held.start_ms)
            return
        held.function = self._functions.get(held.function_name)
        # A request older than the job itself was for an earlier job of that id.
        if abort_requested_at_ms is not None and abort_requested_at_ms >= held.enqueue_time_ms:
            held.end(OutcomeReason.ABORTED, asyncio.CancelledError(), held.start_ms)
        elif held.function is None:
            error = JobExecutionFailed(f"function {held.function_name!r} not found")
            held.end(OutcomeReason.UNKNOWN_FUNCTION, error, held.start_ms)
        elif held.job_try > (limit := self.max_tries_of(held.function)):
            held.end(OutcomeReason.TRIES_EXHAUSTED, JobExecutionFailed(f"max {limit} retries exceeded"), held.start_ms)

    def max_tries_of(self, function: Function | CronJob | None) -> int:
        """How many tries the function's jobs have."""
        return self._max_tries if function is None or function.max_tries is None else function.max_tries

    def _decode(self, held: HeldJob, payload: bytes) -> None:
        try:
            data = self._deserialize(payload)
            name, own_try = str(data["f"]), data["t"]
            args, kwargs, enqueue_time_ms = tuple(data["a"]), dict(data["k"]), int(data["et"])
            held.job_try = max(own_try or 0, held.counted_tries)
        except Exception as error:
            # arq's words, which its clients may match; whatever a stranger's bytes raise is one thing here.
            raise DeserializationError("unable to deserialize job") from error
        held.function_name, held.args, held.kwargs, held.enqueue_time_ms = name, args, kwargs, enqueue_time_ms


class QueueTurns:
    """In which order a claim reads the queues, so that urgent jobs go first and none starves.

    A tenth of each claim's slots, at least one, is offered to the less urgent queues first; a claim of a single slot
    does so every tenth time. Which of them comes first takes turns, beginning with the least urgent.
    """

    def __init__(self, queue_count: int) -> None:
        self._in_order = list(range(1, queue_count + 1))
        self._turns = self._endless_turns()
        self._singles = 0

    def passes(self, limit: int) -> bytes:
        """The passes of a claim of `limit` slots, as `claim.lua` reads them."""
        return msgspec.json.encode(self._plan(limit))

    def _plan(self, limit: int) -> list[tuple[int, list[int]]]:
        if len(self._in_order) == 1:
            return [(limit, self._in_order)]
        if limit == 1:
            self._singles += 1
            is_reserved = self._singles % RESERVED_SHARE == 0
            return [(1, next(self._turns) if is_reserved else self._in_order)]
        reserved = max(1, limit // RESERVED_SHARE)
        return [(limit - reserved, self._in_order), (reserved, next(self._turns)), (0, self._in_order)]

    def _endless_turns(self) -> Iterator[list[int]]:
        less_urgent = self._in_order[:0:-1]
        while True:
            yield [*less_urgent, self._in_order[0]]
            less_urgent = [*less_urgent[1:], less_urgent[0]]
