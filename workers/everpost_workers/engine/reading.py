"""Reads a claim: the script's reply, the payloads, and which of the jobs cannot run at all."""

import asyncio
import logging
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from arq.cron import CronJob
from arq.jobs import DeserializationError, Deserializer
from arq.utils import ms_to_datetime, timestamp_ms
from arq.worker import Function, JobExecutionFailed

from everpost_workers.engine.held import HeldJob, whole_score
from everpost_workers.engine.jobs import Claim, JobOutcome
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.outcomes import OutcomeReason

logger = logging.getLogger("arq.worker")

UNDECODABLE = "unable to deserialize job"  # arq's words, which its clients may match
LONGEST_TOLD = 64  # bytes of an id


class UnnamedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A queue entry whose id is not UTF-8, so that no client of arq's can name it. It is claimed as a job is."""

    raw_id: bytes
    queue_name: str
    queue_number: int
    payload: bytes | None
    claimed_ms: int

    def as_outcome(self) -> JobOutcome[Any]:
        """What the completion hook gets: the entry as a job that cannot be read."""
        error = DeserializationError(UNDECODABLE)
        error.__cause__ = ValueError(f"its id is not UTF-8: {self.raw_id[:LONGEST_TOLD]!r}")
        return JobOutcome(
            claim=Claim(
                job_id=self.raw_id.decode(errors="backslashreplace"),
                job_try=1,
                queue_name=self.queue_name,
                score=self.claimed_ms,
                payload=self.payload,
                ends_as=OutcomeReason.UNDECODABLE,
            ),
            reason=OutcomeReason.UNDECODABLE,
            result=error,
            start_ms=self.claimed_ms,
            finish_ms=self.claimed_ms,
        )


class ClaimReply(msgspec.Struct, frozen=True):
    """What `claim.lua` answers.

    Attributes:
        jobs: The claimed jobs, each with the time of a request to abort it, if there is one.
        next_due_in_s: Seconds until the earliest remaining entry is due, 0 or less if it is due; None if none remains.
        queued: How many entries all queues have, held jobs included.
    """

    jobs: list[tuple[HeldJob, float | None]]
    unnamed: list[UnnamedEntry]
    next_due_in_s: float | None
    queued: int
    has_health_key: bool
    is_heard: bool


def read_claim_reply(reply: Sequence[Any], *, token: str, queue_names: Sequence[str], here_ms: int) -> ClaimReply:
    """Decode the reply of `claim.lua`, which describes the fields; `here_ms` is the time by the worker's clock."""
    now_ms, next_score, queued, has_health_key, is_heard = reply[:5]
    jobs: list[tuple[HeldJob, float | None]] = []
    unnamed: list[UnnamedEntry] = []
    fields = iter(reply[5:])
    for raw_id, number, score, tries, sent, requested_at in zip(*[fields] * 6, strict=True):
        queue_name = queue_names[number - 1]
        payload, cut_from_bytes = sent if isinstance(sent, list) else (sent, None)
        try:
            job_id = raw_id.decode()
        except UnicodeDecodeError:
            entry = UnnamedEntry(
                raw_id=raw_id, queue_name=queue_name, queue_number=number, payload=payload, claimed_ms=here_ms
            )
            unnamed.append(entry)
            continue
        claim: Claim[Any] = Claim(
            job_id=job_id,
            job_try=tries,
            queue_name=queue_name,
            score=whole_score(float(score)),
            claimed_ms=now_ms,
            payload=payload,
        )
        held = HeldJob(claim, token=token, queue_number=number, start_ms=here_ms)
        held.cut_from_bytes = cut_from_bytes
        jobs.append((held, None if requested_at is None else float(requested_at)))
    next_due_in_s = None if next_score is None else (float(next_score) - now_ms) / 1000
    return ClaimReply(jobs, unnamed, next_due_in_s, queued, bool(has_health_key), bool(is_heard))


class JobReader:
    """Decodes payloads, and decides whether a claimed job can run at all.

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
        """Fill in what the payload says, and end the job here if it cannot run. The order is arq's."""
        refusal = self._refusal_of(held, abort_requested_at_ms)
        if refusal is not None:
            reason, error = refusal
            held.end(reason, error, held.start_ms)
            held.claim.ends_as = reason

    def _refusal_of(
        self, held: HeldJob, abort_requested_at_ms: float | None
    ) -> tuple[OutcomeReason, BaseException] | None:
        """Why the job cannot run; None if it can."""
        claim = held.claim
        if not claim.payload:
            return OutcomeReason.EXPIRED, JobExecutionFailed("job expired")
        try:
            if held.cut_from_bytes is not None:
                raise _too_large(held.cut_from_bytes, len(claim.payload))
            self._decode(held, claim.payload)
        except DeserializationError as error:
            return OutcomeReason.UNDECODABLE, error
        function = held.function = self._functions.get(claim.function)
        # A request that is older than the job was for an earlier job with that id.
        if abort_requested_at_ms is not None and abort_requested_at_ms >= claim.enqueue_time_ms:
            return OutcomeReason.ABORTED, asyncio.CancelledError()
        if function is None:
            return OutcomeReason.UNKNOWN_FUNCTION, JobExecutionFailed(f"function {claim.function!r} not found")
        limit = self._max_tries_of(function)
        if claim.job_try > limit:
            return OutcomeReason.TRIES_EXHAUSTED, JobExecutionFailed(f"max {limit} retries exceeded")
        return None

    def log_not_run(self, job: HeldJob) -> None:
        """Log why a job ends without having run."""
        claim = job.claim
        waited_s = (timestamp_ms() - claim.enqueue_time_ms) / 1000
        match job.reason:
            case OutcomeReason.EXPIRED:
                logger.warning("job %s expired", job.job_id, extra=as_event("job.expired", job_id=job.job_id))
            case OutcomeReason.UNDECODABLE:
                fields = as_event("job.undecodable", job_id=job.job_id)
                logger.error("deserializing job %s failed", job.job_id, exc_info=job.result, extra=fields)
            case OutcomeReason.ABORTED:
                logger.info("%6.2fs ⊘ %s:%s aborted before start", waited_s, job.job_id, claim.function)
            case OutcomeReason.UNKNOWN_FUNCTION:
                fields = as_event("job.unknown_function", job_id=job.job_id, function=claim.function)
                logger.warning("job %s, function %r not found", job.job_id, claim.function, extra=fields)
            case _:
                limit = self._max_tries_of(job.function)
                fields = as_event("job.tries_exhausted", job_id=job.job_id, limit=limit, waited_s=round(waited_s, 3))
                logger.warning("%6.2fs ! %s max retries %d exceeded", waited_s, job.reference, limit, extra=fields)

    def _max_tries_of(self, function: Function | CronJob | None) -> int:
        return self._max_tries if function is None or function.max_tries is None else function.max_tries

    def _decode(self, held: HeldJob, payload: bytes) -> None:
        claim = held.claim
        try:
            data = self._deserialize(payload)
            name, own_try = str(data["f"]), data["t"]
            args, kwargs, enqueue_time_ms = tuple(data["a"]), dict(data["k"]), int(data["et"])
            enqueue_time = ms_to_datetime(enqueue_time_ms)  # raises for a time that no datetime holds
            job_try = max(own_try or 0, held.counted_tries)
        except Exception as error:
            # Foreign bytes may raise anything; every error means that the payload is unreadable.
            raise DeserializationError(UNDECODABLE) from error
        claim.function, claim.args, claim.kwargs, claim.job_try = name, args, kwargs, job_try
        claim.enqueue_time_ms, held.enqueue_time = enqueue_time_ms, enqueue_time


def _too_large(size_bytes: int, kept_bytes: int) -> DeserializationError:
    error = DeserializationError(UNDECODABLE)
    error.__cause__ = ValueError(f"it has {size_bytes:,} bytes, too many to be read; {kept_bytes:,} are kept")
    return error
