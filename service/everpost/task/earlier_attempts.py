"""Reads a claimed task's earlier attempts: which never reported, and which may have reached the platform."""

from collections.abc import Sequence

import msgspec

from everpost.clock import SinceBoot
from everpost.task.attempt_rules import NO_RATE_LIMITS, RateLimits
from everpost.task.model import Attempt, BytesSent, ErrorClass, Evidence, PublisherClass, SendPhase, TaskStatus

MOST_LOST = 100  # attempts noted at once; programs that write to Redis can set the count of claims
NEVER_REPORTED = "It began to send and never reported its outcome."
WORKER_DIED = "The worker that held it died."
MOST_ATTEMPTS = 1_000_000  # a higher number must come from another program


class OpenAttempt(msgspec.Struct, frozen=True):
    """An attempt that may have reached the platform, with an unknown outcome."""

    number: int
    started_at: str
    since_boot: SinceBoot | None = None


class Earlier(msgspec.Struct, frozen=True):
    """A claimed task's past.

    Attributes:
        last: The highest number of an attempt; 0 before the first attempt.
        crashed: How many attempts ended with the death of their worker.
        suspected: How many of them may have been inside the publisher.
        died_alone: One of them ran alone in its process.
        open: Attempts with an unknown outcome, if that matters to the publisher's class.
        may_be_sent: An attempt may have reached the platform, whatever that means to the publisher's class.
        limits: What rate limits have cost the task.
    """

    last: int = 0
    crashed: int = 0
    suspected: int = 0
    died_alone: bool = False
    open: tuple[OpenAttempt, ...] = ()
    may_be_sent: bool = False
    limits: RateLimits = NO_RATE_LIMITS


NOTHING_EARLIER = Earlier()


class _Recorded(msgspec.Struct):
    """The part of a recorded attempt that is read here."""

    number: int
    started_at: str = ""
    error_class: str | None = None
    error: str | None = None
    evidence: Evidence | None = None
    since_boot: SinceBoot | None = None
    alone: bool = False
    paused_s: float | None = None
    omitted: int = 0

    @property
    def may_have_sent(self) -> bool:
        """Whether the publisher may have begun to send."""
        return self.evidence is not None and self.evidence.bytes_sent is not BytesSent.NO


def lost_attempts(
    attempts: str | None, sending: int | None, job_try: int, publisher_class: PublisherClass
) -> list[Attempt]:
    """The attempts that are not recorded although there are signs of them.

    Args:
        attempts: The recorded attempts as a JSON list; None if no attempt was recorded.
        sending: The attempt whose intent to send is recorded; its first byte may have been sent.
        job_try: Redis's count of claims, including this one.
    """
    last = max((attempt.number for attempt in _read(attempts)), default=0)
    until = max(min(job_try - 1, last + MOST_LOST), min(sending or 0, MOST_ATTEMPTS))
    first = max(last + 1, until + 1 - MOST_LOST)
    return [_lost_attempt(number, sending, job_try, publisher_class) for number in range(first, until + 1)]


def _lost_attempt(number: int, sending: int | None, job_try: int, publisher_class: PublisherClass) -> Attempt:
    has_begun = number == sending
    cannot_have_begun = not publisher_class.may_rerun and not has_begun  # otherwise its intent would be recorded
    return Attempt(
        number=number,
        started_at="",  # the ledger has it
        outcome=TaskStatus.UNKNOWN,
        error_class=ErrorClass.CRASHED if number < job_try else ErrorClass.UNKNOWN,
        error=NEVER_REPORTED if has_begun else WORKER_DIED,
        evidence=Evidence(
            phase=SendPhase.SENDING if has_begun else SendPhase.CLAIMED,
            bytes_sent=BytesSent.NO if cannot_have_begun else BytesSent.NOT_KNOWN,
        ),
    )


def read_earlier(attempts: str | None, publisher_class: PublisherClass) -> Earlier:
    """What the recorded attempts mean for the next one."""
    recorded = {
        attempt.number: attempt for attempt in _read(attempts)
    }.values()  # a late report replaces the earlier entry
    if not recorded:
        return NOTHING_EARLIER
    crashed = [attempt for attempt in recorded if attempt.error_class == ErrorClass.CRASHED]
    matters = publisher_class is not PublisherClass.LOCAL  # a local effect is the same, once or twice
    return Earlier(
        last=max(attempt.number for attempt in recorded),
        crashed=len(crashed),
        suspected=sum(attempt.may_have_sent for attempt in crashed),
        died_alone=any(attempt.alone for attempt in crashed),
        open=tuple(
            OpenAttempt(attempt.number, attempt.started_at, attempt.since_boot)
            for attempt in recorded
            if matters and attempt.may_have_sent
        ),
        may_be_sent=any(attempt.may_have_sent for attempt in recorded),
        limits=_limits_of([attempt for attempt in recorded if attempt.error_class == ErrorClass.RATE_LIMITED]),
    )


def _limits_of(limited: Sequence[_Recorded]) -> RateLimits:
    if not limited:
        return NO_RATE_LIMITS
    return RateLimits(
        count=sum(1 + attempt.omitted for attempt in limited),
        paused_s=max(attempt.paused_s or 0 for attempt in limited),
    )


def may_be_sent(attempts: str | None, sending: int | None, publisher_class: PublisherClass) -> bool:
    """Whether an attempt of a row that cannot run may have reached the platform, and that matters to the class.

    A keyed publisher may write no intent, so a missing intent does not prove that no attempt began.
    """
    if publisher_class is PublisherClass.LOCAL:
        return False
    has_intent = sending is not None
    return publisher_class.may_rerun or has_intent or any(attempt.may_have_sent for attempt in _read(attempts))


def may_save(attempt: int, attempts: str | None, sending: int | None, saved_by: int | None) -> bool:
    """Whether an attempt may save a checkpoint: it has not ended, and no later one has begun.

    A claim puts attempts that never reported on record before the next one begins. So the next attempt has the last
    checkpoint that was saved, even if the process of the earlier one only froze.

    Args:
        attempts: The recorded attempts as a JSON list; None if no attempt was recorded.
        sending: The attempt whose intent to send is recorded.
        saved_by: The attempt that saved the task's checkpoint.
    """
    last = max((recorded.number for recorded in _read(attempts)), default=0)
    return attempt > last and attempt >= max(sending or 0, saved_by or 0)


def has_open_attempt(attempts: str | None) -> bool:
    """Whether a recorded attempt may have reached the platform, whatever that means to the publisher's class."""
    recorded = {attempt.number: attempt for attempt in _read(attempts)}  # a late report replaces the earlier entry
    return any(attempt.may_have_sent for attempt in recorded.values())


def last_attempt(attempts: str | None) -> int:
    """The highest number of a recorded attempt; 0 without recorded attempts."""
    return max((attempt.number for attempt in _read(attempts)), default=0)


def last_error_of(attempts: str | None) -> str | None:
    """The error of the last recorded attempt."""
    recorded = _read(attempts)
    return recorded[-1].error if recorded else None


def _read(attempts: str | None) -> list[_Recorded]:
    if attempts is None:
        return []
    try:
        recorded = msgspec.json.decode(attempts, type=list[_Recorded])
        return [attempt for attempt in recorded if attempt.number <= MOST_ATTEMPTS]
    except msgspec.DecodeError:  # another program wrote into the column; that must not delay other tasks
        return []
