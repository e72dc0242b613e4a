"""A person's decision about a task of unknown outcome, and when such a decision is possible."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from everpost.access import AuditRow
from everpost.clock import to_text
from everpost.errors import AlreadyDecided, NothingToDecide, ServiceError, TaskNotFound
from everpost.task.model import TaskStatus
from everpost.task.place import Place, Position
from everpost.task.retry_rules import refusal_of


class DecisionKind(StrEnum):
    """The decision of a person who has looked at the platform."""

    SUCCEEDED = "succeeded"  # the post is there
    SEND_AGAIN = "send_again"  # the post is not there, or a second one does no harm


class Grounds(msgspec.Struct, frozen=True):
    """Who decides, and the reason.

    Attributes:
        entry: Kept in the audit, together with what is done on these grounds.
    """

    by: str | None = None
    why: str | None = None
    entry: AuditRow | None = None


UNSAID = Grounds()


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A decision.

    Attributes:
        status_before: The task's status before the decision.
        new_task_id: The task that replaces it.
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


def decide_resolution(task_id: str, position: Position | None, taken: Sequence[Decided]) -> ServiceError | None:
    """Why a task cannot be marked as a success; None if it can. The first decision about a task counts.

    Args:
        position: None if no store has the task.
        taken: The recorded decisions; they may include those of related tasks.
    """
    if position is not None and position.place is not Place.LEDGER and position.status == TaskStatus.UNKNOWN:
        return None
    standing = standing_decision(task_id, taken)
    if standing is not None:
        return standing.as_refusal()
    return TaskNotFound(task_id) if position is None else NothingToDecide(task_id, position.status)


def standing_decision(task_id: str, taken: Sequence[Decided]) -> Decided | None:
    """The recorded decision about the task; None if it was not decided about."""
    return next((decided for decided in reversed(taken) if decided.task_id == task_id), None)


def sent_again_as(task_id: str, taken: Sequence[Decided]) -> str | None:
    """The new task that a person had sent while the outcome of this one was unknown; None if no person did so."""
    sent_again = (DecisionKind.SEND_AGAIN, TaskStatus.UNKNOWN)
    of_task = (decided for decided in reversed(taken) if decided.task_id == task_id)
    return next((one.new_task_id for one in of_task if (one.decision, one.status_before) == sent_again), None)


def decisions_of_retry(chain: Sequence[Position], new_task_id: str, grounds: Grounds, now_ms: int) -> list[Decided]:
    """The decisions that a forced retry implies: about the retried task, and about the unknown tasks of its chain.

    Args:
        chain: The retried task, then its relatives.
    """
    if refusal_of(chain) is None:  # an ordinary retry
        return []
    retried = chain[0]
    return [
        Decided(
            task_id=task.task_id,
            decision=DecisionKind.SEND_AGAIN,
            status_before=task.status,
            decided_at=to_text(now_ms),
            decided_by=grounds.by,
            why=grounds.why,
            new_task_id=new_task_id,
        )
        for task in {task.task_id: task for task in chain}.values()
        if task.task_id == retried.task_id or task.status == TaskStatus.UNKNOWN
    ]
