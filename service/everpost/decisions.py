"""What people decide about tasks whose outcome nobody knows: the words; `store/decisions.py` keeps them."""

from enum import StrEnum

import msgspec


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
