"""Decides whether a waiting task may be edited: a pure function from the store's facts to the next step."""

from enum import StrEnum

import msgspec

from everpost.errors import (
    AttemptOpen,
    Conflict,
    ServiceError,
    TaskChanging,
    TaskEnded,
    TaskHeld,
    TaskNotFound,
    TaskRunning,
    TaskUnreadable,
)
from everpost.task.duplicate_rules import Guard
from everpost.task.earlier_attempts import has_open_attempt, last_attempt
from everpost.task.model import WAITING, TaskStatus
from everpost.task.place import Place, Position


class EditAction(StrEnum):
    """The next step of an edit."""

    EDIT = "edit"
    WITHDRAW = "withdraw"  # take the job out of Redis first, then decide again
    REFUSE = "refuse"


class EditDecision(msgspec.Struct, frozen=True):
    """An `EditAction`, with the reason to refuse."""

    action: EditAction
    refusal: ServiceError | None = None


class EditFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a caller wants to edit, as a store has it.

    Attributes:
        attempts: Those on record, as a JSON list.
        is_as_read: Whether its data and priority are those that the new version was made from.
    """

    position: Position | None
    attempts: str | None = None
    is_as_read: bool = True


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """The new version of a task.

    Attributes:
        task_data: The client's whole JSON object.
        before_data: The data that it was made from.
        before_priority: The priority that it was made from.
        is_rescheduled: Whether its time changes; otherwise `due_at_ms` says nothing.
        due_at_ms: The earliest time to run, in UTC milliseconds; None means as soon as possible.
        has_new_limit: Whether the latest time to begin changes; otherwise `late_at_ms` says nothing.
        file_ids: The ids of the files that it names.
        callback_url: The address that is told of its end.
        is_rewritten: Whether what is posted changes: then the checkpoint of an earlier attempt is of no use.
        patch: The JSON merge patch that was asked for.
        former: The former values of the members that changed, as JSON.
        warning: What the client should know of its time.
        unknown_fields: Fields of its data that neither Everpost nor the platform reads.
        guard: What it is compared by; None if its platform has no guard against duplicates.
        former_digest: That of its former content, which it no longer forbids.
    """

    task_id: str
    task_data: bytes
    before_data: bytes
    before_priority: int
    platform: str
    account_id: str
    title: str
    priority: int
    is_rescheduled: bool = False
    due_at_ms: int | None = None
    has_new_limit: bool = False
    late_at_ms: int | None = None
    is_rewritten: bool = False
    file_ids: tuple[str, ...] = ()
    callback_url: str | None = None
    patch: bytes = b"{}"
    former: bytes = b"{}"
    edited_by: str | None = None
    why: str | None = None
    warning: str | None = None
    unknown_fields: tuple[str, ...] = ()
    guard: Guard | None = None
    former_digest: str | None = None

    @property
    def is_same(self) -> bool:
        """Whether nothing changes."""
        return not self.is_rescheduled and self.task_data == self.before_data

    def status_at(self, now_ms: int) -> TaskStatus:
        """The new status of a task whose time changes."""
        later = self.due_at_ms is not None and self.due_at_ms > now_ms
        return TaskStatus.SCHEDULED if later else TaskStatus.PENDING


class KeptEdit(msgspec.Struct, frozen=True, kw_only=True):
    """An edit that was made, as it is kept with its task. Times are UTC text.

    Attributes:
        patch: The JSON merge patch.
        before: The former values of the members that changed. Members that were added are not among them.
    """

    edited_at: str
    edited_by: str | None = None
    why: str | None = None
    patch: msgspec.Raw
    before: msgspec.Raw


def decide_edit(task_id: str, facts: EditFacts, *, claims: int | None = None) -> EditDecision:
    """Decide the next step of an edit.

    Args:
        claims: If the job was taken out of Redis: how many claims of it were counted there. A claim without an attempt
            on record is that of a worker that had the task and never reported.
    """
    refusal = _refusal_of(task_id, facts)
    if refusal is not None:
        return EditDecision(EditAction.REFUSE, refusal)
    if claims is None:
        return EditDecision(EditAction.WITHDRAW)
    if claims > last_attempt(facts.attempts):
        return EditDecision(EditAction.REFUSE, TaskRunning(task_id))
    if not facts.is_as_read:
        return EditDecision(EditAction.REFUSE, TaskChanging(task_id))
    return EditDecision(EditAction.EDIT)


def _refusal_of(task_id: str, facts: EditFacts) -> ServiceError | None:
    position = facts.position
    if position is None:
        return TaskNotFound(task_id)
    if position.place is not Place.LEDGER:
        return TaskEnded(task_id, position.status)
    if position.inherited:
        return Conflict("It is a row of an original file, which only a retry runs; it cannot be edited.", task_id)
    if position.held:
        return TaskHeld(task_id)
    if position.sending or position.status not in WAITING:
        return TaskRunning(task_id)
    return AttemptOpen(task_id) if has_open_attempt(facts.attempts) else None


def unreadable(task_id: str) -> TaskUnreadable:
    """The refusal of a task whose data in the ledger is damaged."""
    return TaskUnreadable(task_id, "its data is not a JSON object")
