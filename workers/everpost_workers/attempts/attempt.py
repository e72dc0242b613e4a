"""What one attempt knows and leaves behind: between the claim hook, the job function and the completion hook."""

from collections.abc import Mapping
from typing import Any

import msgspec

from everpost.clock import SinceBoot
from everpost.publishing import PublishResult, SendTrace
from everpost.store.ledger import ClaimFacts
from everpost.task.earlier_attempts import NOTHING_EARLIER, Earlier
from everpost.task.model import BytesSent, ErrorClass, Evidence, SendPhase, TaskStatus

ATTEMPT = "attempt"  # the key of an `AttemptState` in a job's ctx and in its outcome's extra
NOTHING_SENT = Evidence(phase=SendPhase.PREPARING, bytes_sent=BytesSent.NO)
NOTHING_KNOWN = Evidence(phase=SendPhase.CLAIMED, bytes_sent=BytesSent.NOT_KNOWN)


class AttemptState(msgspec.Struct):
    """One attempt.

    Attributes:
        facts: What the ledger said when the job was claimed; None for a job it has no row of.
        number: 1 for the task's first attempt.
        earlier: What is known of the attempts before.
        sending: Set once the publisher is called, from when on the platform may have the post; tells how far it came.
        task_data: The ledger's, where Redis has other data of the task: it is what counts.
        data: The task's data, once decoded.
        since_boot: When it began by the host's time since its boot, where its key can expire.
        refusal: Why a job that a stock client enqueued is not taken as a task; None if it is.
    """

    facts: ClaimFacts | None
    number: int
    earlier: Earlier = NOTHING_EARLIER
    sending: SendTrace | None = None
    task_data: bytes | None = None
    data: Mapping[str, Any] | None = None
    result: PublishResult | None = None
    since_boot: SinceBoot | None = None
    refusal: str | None = None


class PublishFailedError(Exception):
    """The task ends here, and not well.

    Args:
        said: What the publisher itself said, if it did.
        attempted: False if no attempt was made: it ends for what became of earlier ones.
    """

    def __init__(
        self,
        status: TaskStatus,
        error_class: ErrorClass,
        message: str,
        *,
        said: str | None = None,
        attempted: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_class = error_class
        self.message = message
        self.said = said
        self.attempted = attempted


def evidence_of(state: AttemptState | None, said: str | None) -> Evidence:
    """What is known of an attempt whose outcome is not; `said` is what the publisher raised, if it did."""
    if state is None:
        return NOTHING_KNOWN
    return NOTHING_SENT if state.sending is None else state.sending.evidence(said)
