"""What is known of a claimed task's earlier attempts: which never reported, and which may have reached the platform."""

from collections.abc import Sequence

import msgspec

from everpost.clock import SinceBoot
from everpost.task.attempt_rules import NO_RATE_LIMITS, RateLimits
from everpost.task.model import Attempt, BytesSent, ErrorClass, Evidence, PublisherClass, SendPhase, TaskStatus

MOST_LOST = 100  # attempts noted at once: whoever can write to Redis can set the count of claims
NEVER_REPORTED = "It began to send and never reported how it ended."
WORKER_DIED = "The worker that had taken it died."
MOST_ATTEMPTS = 1_000_000  # no task has more: another program wrote a higher number into the row


class OpenAttempt(msgspec.Struct, frozen=True):
    """An attempt that may have reached the platform, as nobody knows."""

    number: int
    started_at: str
    since_boot: SinceBoot | None = None


class Earlier(msgspec.Struct, frozen=True):
    """A claimed task's past.

    Attributes:
        last: The highest number an attempt has; 0 if there was none.
        crashed: How many attempts ended with the death of their worker.
        suspected: How many of them may have been inside the publisher.
        died_alone: One of them was all its process ran.
        open: Those whose outcome is not known, where that matters to the publisher's class.
        limits: What rate limits have cost the task.
    """

    last: int = 0
    crashed: int = 0
    suspected: int = 0
    died_alone: bool = False
    open: tuple[OpenAttempt, ...] = ()
    limits: RateLimits = NO_RATE_LIMITS


NOTHING_EARLIER = Earlier()


class _Recorded(msgspec.Struct):
    """What is read of an attempt on record."""

    number: int
    started_at: str = ""
    error_class: str | None = None
    evidence: Evidence | None = None
    since_boot: SinceBoot | None = None
    alone: bool = False
    paused_s: float | None = None
    omitted: int = 0

    @property
    def may_have_sent(self) -> bool:
        """Whether its publisher may have begun."""
        return self.evidence is not None and self.evidence.bytes_sent is not BytesSent.NO


def lost_attempts(
    attempts: str | None, sending: int | None, job_try: int, publisher_class: PublisherClass
) -> list[Attempt]:
    """The attempts that are not on record although something tells of them.

    Args:
        attempts: Those on record, as a JSON list; None if there are none.
        sending: The attempt whose first byte may have left: its intent is on record.
        job_try: Redis's count of claims, this one included.
    """
    last = max((attempt.number for attempt in _read(attempts)), default=0)
    until = max(min(job_try - 1, last + MOST_LOST), min(sending or 0, MOST_ATTEMPTS))
    first = max(last + 1, until + 1 - MOST_LOST)
    return [_lost_attempt(number, sending, job_try, publisher_class) for number in range(first, until + 1)]


def _lost_attempt(number: int, sending: int | None, job_try: int, publisher_class: PublisherClass) -> Attempt:
    has_begun = number == sending
    cannot_have_begun = not publisher_class.may_rerun and not has_begun  # or its intent would be on record
    return Attempt(
        number=number,
        started_at="",  # the ledger knows
        outcome=TaskStatus.UNKNOWN,
        error_class=ErrorClass.CRASHED if number < job_try else ErrorClass.UNKNOWN,
        error=NEVER_REPORTED if has_begun else WORKER_DIED,
        evidence=Evidence(
            phase=SendPhase.SENDING if has_begun else SendPhase.CLAIMED,
            bytes_sent=BytesSent.NO if cannot_have_begun else BytesSent.NOT_KNOWN,
        ),
    )


def read_earlier(attempts: str | None, publisher_class: PublisherClass) -> Earlier:
    """What the attempts on record mean for the next one."""
    recorded = {attempt.number: attempt for attempt in _read(attempts)}.values()  # what was reported late counts
    if not recorded:
        return NOTHING_EARLIER
    crashed = [attempt for attempt in recorded if attempt.error_class == ErrorClass.CRASHED]
    matters = publisher_class is not PublisherClass.LOCAL  # whose effect is the same, once or twice
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
    """Whether an attempt of a row that cannot be run may have reached the platform, to which that would matter.

    A keyed publisher may write no intent, so nothing on record says that none of its attempts began.
    """
    if publisher_class is PublisherClass.LOCAL:
        return False
    has_intent = sending is not None
    return publisher_class.may_rerun or has_intent or any(attempt.may_have_sent for attempt in _read(attempts))


def _read(attempts: str | None) -> list[_Recorded]:
    if attempts is None:
        return []
    try:
        recorded = msgspec.json.decode(attempts, type=list[_Recorded])
        return [attempt for attempt in recorded if attempt.number <= MOST_ATTEMPTS]
    except msgspec.DecodeError:  # a stranger wrote into the column; it must not hold up the others
        return []
