"""What a person decides about a task whose outcome is unknown."""

from enum import StrEnum

import msgspec

from everpost.errors import AlreadyDecided


class DecisionKind(StrEnum):
    """What somebody who looked at the platform decides."""

    SUCCEEDED = "succeeded"  # the post is there
    SEND_AGAIN = "send_again"  # it is not, or a second one does no harm


class Grounds(msgspec.Struct, frozen=True):
    """Who decides, and why, as they say themselves."""

    by: str | None = None
    why: str | None = None


UNSAID = Grounds()


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that was taken.

    Attributes:
        status_before: The task's status until then.
        new_task_id: The task that took its place.
    """

    task_id: str
    decision: DecisionKind
    status_before: str
    decided_at: str
    decided_by: str | None = None
    why: str | None = None
    provider_post_id: str | None = None
    publish_url: str | None = None
    new_task_id: str | None = None

    def as_refusal(self) -> AlreadyDecided:
        """The error for a later decision about the same task."""
        return AlreadyDecided(self.task_id, kind=self.decision, at=self.decided_at, by=self.decided_by, decision=self)
