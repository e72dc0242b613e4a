"""A job as the hooks see it: claimed, and ended."""

from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from everpost_workers.engine.outcomes import OutcomeReason

UNKNOWN_FUNCTION_NAME = "<unknown>"

Context = TypeVar("Context")
"""What the claim hook attaches to a job."""


class Claim(msgspec.Struct, Generic[Context], kw_only=True):
    """A claimed job, before anything of it starts.

    Attributes:
        job_try: 1 for the first try. A client may enqueue a job with a higher one.
        score: The queue score in Unix milliseconds: when the job became due.
        claimed_ms: When it was claimed, by Redis's clock as the score is.
        payload: The bytes under the job's key; None if they are gone.
        ends_as: The reason with which the job ends without running; None if it can run.
        context: The claim hook may set it. The job's function finds it as `ctx["context"]`, `on_complete` in the claim.
    """

    job_id: str
    job_try: int
    queue_name: str
    score: int
    claimed_ms: int = 0
    enqueue_time_ms: int = 0
    function: str = UNKNOWN_FUNCTION_NAME
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    payload: bytes | None = None
    ends_as: OutcomeReason | None = None
    context: Context | None = None


class Drop(msgspec.Struct, frozen=True):
    """The job must not run. It is removed from Redis without a result, and `on_complete` does not hear of it."""


class Later(msgspec.Struct, frozen=True):
    """The job is not to run before `due_ms` (Unix milliseconds): it goes back to its queue, and no try is spent.

    A time that is past, or less than a tenth of a second ahead by Redis's clock, becomes a tenth of a second from now,
    so that a hook which always answers "later" does not keep the worker busy.
    """

    due_ms: int


class Elsewhere(msgspec.Struct, frozen=True):
    """The job waits in another sorted set, under the key `queue`, and no try is spent.

    The worker has nothing more to do with it: it comes back when a program moves it into one of the worker's queues. In
    one step, Redis takes it out of its queue, ends its lease, and adds it there; its payload stays. If the option
    `elsewhere_index` names a hash, it tells for each such job where it is.

    Attributes:
        score: Its score there; None keeps the score that it was claimed with.
    """

    queue: str
    score: int | None = None


DROP = Drop()

ClaimAnswer: TypeAlias = Drop | Later | Elsewhere
"""What the claim hook may answer for a job; a job without an answer runs."""


class JobOutcome(msgspec.Struct, Generic[Context], frozen=True, kw_only=True):
    """The end of a job.

    Attributes:
        result: What the function returned, or the exception (also `asyncio.CancelledError`) that ended the job.
        start_ms: When this try began; for a job that never ran, when it was claimed. Unix milliseconds.
        fenced: Another worker has taken the job meanwhile, as far as was known when the hook was called.
    """

    claim: Claim[Context]
    reason: OutcomeReason
    result: Any
    start_ms: int
    finish_ms: int
    fenced: bool = False

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.claim.job_id

    @property
    def success(self) -> bool:
        """Whether the function returned."""
        return self.reason is OutcomeReason.COMPLETE
