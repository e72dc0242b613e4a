"""One attempt, from the claim of its job to the record of its end."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from everpost.clock import SinceBoot
from everpost.known_secrets import NO_SECRETS, KnownSecrets
from everpost.publishing import Account, PublishResult, SendTrace
from everpost.store.ledger import ClaimFacts
from everpost.store.traces import TaskTrace
from everpost.task.earlier_attempts import NOTHING_EARLIER, Earlier
from everpost.task.late_rules import is_missed
from everpost.task.model import HELD, BytesSent, ErrorClass, Evidence, SendPhase, TaskStatus
from everpost_workers.engine import Claim, JobOutcome

NOTHING_SENT = Evidence(phase=SendPhase.PREPARING, bytes_sent=BytesSent.NO)


def holds_no_lease() -> bool:
    """The `holds_lease` of an attempt that is not running."""
    return False


class AttemptState(msgspec.Struct):
    """What is known of one attempt. The claim hook makes it, the run fills it, and the record is made from it.

    Attributes:
        claims: How often the job was claimed, as Redis counts; 1 for the first time.
        facts: The ledger's facts at the claim; None if the ledger does not have the task.
        number: 1 for the task's first attempt.
        earlier: What is known of the earlier attempts.
        holds_lease: Whether no other worker can have the task yet; set while the attempt runs.
        task_data: The ledger's data, if Redis has other data of the task; the ledger's is published.
        accounts_version: That of the accounts at the claim: an account that was registered before it is used.
        refusal: Why a stock client's job is not accepted as a task; None if it is.
        started_ms: When it began; 0 until then.
        data: The task's data, once decoded.
        file_ids: The ids of the files that are published.
        since_boot: When it began by the host's time since its boot, if its key can expire.
        sending: Set when the publisher is called: from then on the platform may have the post. Has the publisher's
            reports.
        result: What the publisher returned.
        has_ended: The publisher's calls are over.
        account: The account it publishes with; None until it is known.
        trace: The task's trace contexts, if traces are on and it has some.
        secrets: The account's secrets that the publisher may have put into what it says.
        unsaid: These, and the values of the data's hidden members: what no message or log line has.
    """

    task_id: str
    claims: int
    facts: ClaimFacts | None
    number: int
    earlier: Earlier = NOTHING_EARLIER
    holds_lease: Callable[[], bool] = holds_no_lease
    task_data: bytes | None = None
    accounts_version: str | None = None
    refusal: str | None = None
    started_ms: int = 0
    data: Mapping[str, Any] | None = None
    file_ids: tuple[str, ...] = ()
    since_boot: SinceBoot | None = None
    sending: SendTrace | None = None
    result: PublishResult | None = None
    has_ended: bool = False
    account: Account | None = None
    trace: TaskTrace | None = None
    secrets: KnownSecrets = NO_SECRETS
    unsaid: KnownSecrets = NO_SECRETS

    @property
    def platform(self) -> str | None:
        """The platform in the ledger; None without a row."""
        return self.facts.platform if self.facts else None

    def is_missed_at(self, now_ms: int) -> bool:
        """Whether it is too late for this attempt to begin."""
        facts = self.facts
        if facts is None or facts.late_at is None:
            return False
        return is_missed(facts.late_at, now_ms, may_be_sent=self.earlier.may_be_sent or facts.sending == HELD)

    def evidence(self, said: str | None) -> Evidence:
        """The evidence in case the outcome is unknown. `said` is what the publisher raised, if anything."""
        if self.sending is None:
            return NOTHING_SENT
        found = self.sending.evidence(said)
        words = None if found.last_words is None else self.unsaid.hide(found.last_words)
        return msgspec.structs.replace(found, last_words=words)


ClaimedTask: TypeAlias = Claim[AttemptState]
EndedTask: TypeAlias = JobOutcome[AttemptState]


class PublishFailedError(Exception):
    """The task ends here without success.

    Args:
        said: The publisher's error, if there is one.
        attempted: False if no attempt was made, because of an earlier one.
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


class MissedError(PublishFailedError):
    """The task could not begin in time; no attempt was made."""

    def __init__(self, message: str) -> None:
        super().__init__(TaskStatus.FAILED, ErrorClass.MISSED, message, attempted=False)
