"""Reads what a claim brought: the script's reply, the payloads, and which of the jobs cannot run at all."""

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

from everpost_workers.engine.claims import UNKNOWN_FUNCTION_NAME, HeldJob, whole_score
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.outcomes import JobOutcome, OutcomeReason

logger = logging.getLogger("arq.worker")

UNDECODABLE = "unable to deserialize job"  # arq's words, which its clients may match
LONGEST_TOLD = 64  # bytes of an id


class ClaimReply(msgspec.Struct, frozen=True):
    """What `claim.lua` answers.

    Attributes:
        jobs: The claimed jobs, each with the time of an abort request for it, if there is one.
        unnamed: Entries whose id is not UTF-8, which no client of arq's can name.
        next_due_in_s: Seconds until the earliest entry left is due, 0 or less if it is; None: nothing is left.
        queued: How many entries all queues have, held jobs included.
    """

    jobs: list[tuple[HeldJob, float | None]]
    unnamed: list["UnnamedEntry"]
    next_due_in_s: float | None
    queued: int
    has_health_key: bool


class UnnamedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A queue entry whose id is not UTF-8, claimed as a job is."""

    raw_id: bytes
    queue_name: str
    queue_number: int
    payload: bytes | None
    claimed_ms: int

    def as_outcome(self) -> JobOutcome:
        """How the completion hook hears of it: as of a job that cannot be read."""
        error = DeserializationError(UNDECODABLE)
        error.__cause__ = ValueError(f"its id is not UTF-8: {self.raw_id[:LONGEST_TOLD]!r}")
        return JobOutcome(
            job_id=self.raw_id.decode(errors="backslashreplace"),
            function=UNKNOWN_FUNCTION_NAME,
            args=(),
            kwargs={},
            job_try=1,
            enqueue_time_ms=0,
            success=False,
            result=error,
            start_ms=self.claimed_ms,
            finish_ms=self.claimed_ms,
            queue_name=self.queue_name,
            reason=OutcomeReason.UNDECODABLE,
            payload=self.payload,
            extra={},
        )


def read_claim_reply(reply: Sequence[Any], *, token: str, queue_names: Sequence[str]) -> ClaimReply:
    """Decode the reply of `claim.lua`; it describes the fields."""
    now_ms, next_score, queued, has_health_key = reply[:4]
    jobs: list[tuple[HeldJob, float | None]] = []
    unnamed: list[UnnamedEntry] = []
    fields = iter(reply[4:])
    for raw_id, number, score, tries, sent, requested_at in zip(*[fields] * 6, strict=True):
        queue_name = queue_names[number - 1]
        try:
            job_id = raw_id.decode()
        except UnicodeDecodeError:
            payload = sent[0] if isinstance(sent, list) else sent
            unnamed.append(
                UnnamedEntry(
                    raw_id=raw_id, queue_name=queue_name, queue_number=number, payload=payload, claimed_ms=now_ms
                )
            )
            continue
        held = HeldJob(
            job_id,
            token=token,
            queue_name=queue_name,
            queue_number=number,
            score=whole_score(float(score)),
            tries=tries,
            start_ms=now_ms,
        )
        if isinstance(sent, list):
            held.payload, held.cut_from_bytes = sent
        else:
            held.payload = sent
        jobs.append((held, None if requested_at is None else float(requested_at)))
    next_due_in_s = None if next_score is None else (float(next_score) - now_ms) / 1000
    return ClaimReply(jobs, unnamed, next_due_in_s, queued, bool(has_health_key))


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
            if held.cut_from_bytes is not None:
                raise _too_large(held.cut_from_bytes, len(held.payload))
            self._decode(held, held.payload)
        except DeserializationError as error:
            held.end(OutcomeReason.UNDECODABLE, error, held.start_ms)
            return
        held.function = self._functions.get(held.function_name)
        # A request older than the job itself was for an earlier job of that id.
        if abort_requested_at_ms is not None and abort_requested_at_ms >= held.enqueue_time_ms:
            held.end(OutcomeReason.ABORTED, asyncio.CancelledError(), held.start_ms)
        elif held.function is None:
            unknown = JobExecutionFailed(f"function {held.function_name!r} not found")
            held.end(OutcomeReason.UNKNOWN_FUNCTION, unknown, held.start_ms)
        elif held.job_try > (limit := self._max_tries_of(held.function)):
            held.end(OutcomeReason.TRIES_EXHAUSTED, JobExecutionFailed(f"max {limit} retries exceeded"), held.start_ms)

    def log_not_run(self, job: HeldJob) -> None:
        """Say why a job ends without having run."""
        waited_s = (timestamp_ms() - job.enqueue_time_ms) / 1000
        match job.ends_as:
            case OutcomeReason.EXPIRED:
                logger.warning("job %s expired", job.job_id, extra=as_event("job.expired", job_id=job.job_id))
            case OutcomeReason.UNDECODABLE:
                fields = as_event("job.undecodable", job_id=job.job_id)
                logger.error("deserializing job %s failed", job.job_id, exc_info=job.result, extra=fields)
            case OutcomeReason.ABORTED:
                logger.info("%6.2fs ⊘ %s:%s aborted before start", waited_s, job.job_id, job.function_name)
            case OutcomeReason.UNKNOWN_FUNCTION:
                fields = as_event("job.unknown_function", job_id=job.job_id, function=job.function_name)
                logger.warning("job %s, function %r not found", job.job_id, job.function_name, extra=fields)
            case _:
                limit = self._max_tries_of(job.function)
                fields = as_event("job.tries_exhausted", job_id=job.job_id, limit=limit, waited_s=round(waited_s, 3))
                logger.warning("%6.2fs ! %s max retries %d exceeded", waited_s, job.reference, limit, extra=fields)

    def _max_tries_of(self, function: Function | CronJob | None) -> int:
        return self._max_tries if function is None or function.max_tries is None else function.max_tries

    def _decode(self, held: HeldJob, payload: bytes) -> None:
        try:
            data = self._deserialize(payload)
            name, own_try = str(data["f"]), data["t"]
            args, kwargs, enqueue_time_ms = tuple(data["a"]), dict(data["k"]), int(data["et"])
            enqueue_time = ms_to_datetime(enqueue_time_ms)  # raises for a time no datetime holds
            held.job_try = max(own_try or 0, held.counted_tries)
        except Exception as error:
            # Whatever a stranger's bytes raise is one thing here.
            raise DeserializationError(UNDECODABLE) from error
        held.function_name, held.args, held.kwargs = name, args, kwargs
        held.enqueue_time_ms, held.enqueue_time = enqueue_time_ms, enqueue_time


def _too_large(size_bytes: int, kept_bytes: int) -> DeserializationError:
    error = DeserializationError(UNDECODABLE)
    error.__cause__ = ValueError(f"it has {size_bytes:,} bytes, too many to be read; {kept_bytes:,} are kept")
    return error
