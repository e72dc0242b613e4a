"""The port's noun `changes`: people's changes to tasks. A change is a value with a rule, applied under a lock.

The caller finds the tasks, takes waiting jobs out of Redis, and applies the change. The facts it found may be outdated
by then. So the rule decides again, on the facts inside the transaction that carries out its answer.

A rule is a pure function of `everpost.task`. A store may call it on another thread, and several times if it has to
repeat a transaction.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from everpost.access import AuditRow
from everpost.errors import ServiceError, TaskRunning
from everpost.pace import Pace
from everpost.store.archive import Reason
from everpost.task.cancel_rules import CancelAction, CancelDecision
from everpost.task.candidate import Candidate
from everpost.task.edit_rules import EditAction, EditDecision, Edited, EditFacts
from everpost.task.model import Task, TaskStatus
from everpost.task.place import Place, Position
from everpost.task.removal_rules import Removal
from everpost.task.resolution_rules import UNSAID, Decided, Grounds
from everpost.task.retry_rules import DataOrigin, RetryAction, RetryDecision

DATA_ORDER = (Place.HISTORY, Place.LEDGER, Place.ARCHIVE)
"""Where a store looks for a task's data. A file of the original may have one id in two places."""

RETRY_EXISTS = "retry_exists"
NOT_NEWEST = "superseded"


RetryRule: TypeAlias = Callable[[Candidate], RetryDecision]
"""Decides about a task, and makes the new one. The data is left out if it has more than `LARGEST_LOCKED` bytes."""

CancelRule: TypeAlias = Callable[[str, Position | None], CancelDecision]
"""Decides about the task with an id; the position is None if the store does not have it."""

RemovalRule: TypeAlias = Callable[[Position | None], Removal]
"""Decides about a row of a task; the position is None if the store does not have the task."""

EditRule: TypeAlias = Callable[[str, EditFacts], EditDecision]
"""Decides about the task with an id."""

ResolutionRule: TypeAlias = Callable[[str, Position | None, Sequence[Decided]], ServiceError | None]
"""Why the task with an id cannot be decided about, given its position and the decisions on record; None if it can."""


class Retry(msgspec.Struct, frozen=True):
    """Run tasks again, each as a new task in the ledger.

    For each task in order, the rule is called with what the store has of it; its relatives include the new tasks of
    this change. What its answer does:

    - RETRY: the new task is written. A retried task that waited in the ledger moves to the history as cancelled. A row
      that an original file left waiting in the history is cancelled.
    - LOOK or WITHDRAW, for any of the tasks: nothing of the whole change is written. Then there are outcomes only of
      the tasks with these answers. Such an answer must not depend on what this change itself writes.
    - All others: nothing is written.

    If the retry takes force (`everpost.task.retry_rules.refusal_of`), it is kept as a decision, with its grounds, and
    every unknown task of the chain becomes cancelled and gets such a decision, too.

    Attributes:
        grounds: Who wants the retries, and why.
        entry: Kept in the audit if the change changes anything.
    """

    task_ids: Sequence[str]
    rule: RetryRule
    grounds: Grounds = UNSAID
    entry: AuditRow | None = None


class Cancel(msgspec.Struct, frozen=True):
    """Cancel tasks. On CANCEL, the task moves from the ledger to the history, as cancelled; else nothing is written.

    Attributes:
        entry: Kept in the audit if the change changes anything.
    """

    task_ids: Sequence[str]
    rule: CancelRule
    entry: AuditRow | None = None


class Edit(msgspec.Struct, frozen=True):
    """Give waiting tasks a new version, and keep what changed. On EDIT it is written, else nothing is.

    Attributes:
        versions: The new version of each task, by its id.
        entry: Kept in the audit if the change changes anything.
    """

    versions: Mapping[str, Edited]
    rule: EditRule
    entry: AuditRow | None = None


class Remove(msgspec.Struct, frozen=True):
    """Move ended tasks to the archive.

    Ended rows of the history and inherited rows of the ledger move there. The rule is called for each row with the id,
    and a row moves if it answers ARCHIVED; see `decide_on_rows`.

    Attributes:
        entry: Kept in the audit if the change changes anything.
    """

    task_ids: Sequence[str]
    reason: Reason
    rule: RemovalRule
    entry: AuditRow | None = None


class BringBack(msgspec.Struct, frozen=True):
    """Move removed tasks from the archive back into the history, as they were.

    Only ended tasks that people removed come back, and none whose id the ledger or the history has.

    Attributes:
        entry: Kept in the audit if the change changes anything.
    """

    task_ids: Sequence[str]
    entry: AuditRow | None = None


class Resolve(msgspec.Struct, frozen=True):
    """Make unknown tasks successes, and keep the decisions. A task that the rule refuses stays as it is.

    Attributes:
        decided: The decision about each task as it will be kept. Its post's id and URL go into the task, if they are
            given.
        entry: Kept in the audit if the change changes anything.
    """

    decided: Sequence[Decided]
    rule: ResolutionRule
    entry: AuditRow | None = None


Change: TypeAlias = Retry | Cancel | Edit | Remove | BringBack | Resolve


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a change for one task.

    Attributes:
        reason: Why the task was not changed: an error's code, RETRY_EXISTS, NOT_NEWEST, or a value of `Removal`. None
            if it was changed.
        refusal: The error of that reason, for a caller that asked about this task alone. None if the reason is not an
            error's code.
        new_task: The retry that was written, with its place in the retry chain.
        other_task_id: The other task that prevents the change: for RETRY_EXISTS, the unfinished retry.
        decided: The decision about this task that was kept.
        origin: Where a retry's data came from; None if the retry has no data.
        edited: The new version of the task that was written.
        undecided: What the store has of a task whose retry has to be prepared first: the rule said LOOK or WITHDRAW.
        told: The tasks that ended, or changed how they ended, and whose callbacks were written.
    """

    task_id: str
    reason: str | None = None
    refusal: ServiceError | None = None
    new_task: Task | None = None
    other_task_id: str | None = None
    decided: Decided | None = None
    origin: DataOrigin | None = None
    edited: Edited | None = None
    undecided: Candidate | None = None
    told: Sequence[str] = ()


class Changes(Protocol):
    """Finds tasks and changes them."""

    async def find(self, task_ids: Sequence[str], *, whole: bool) -> list[Candidate]:
        """The tasks in the order of `task_ids`, all in the state of one moment, so a task that moves is not missed.

        If several rows have one id, the position is the first of ledger, history and archive, and within one place the
        newest row. The data is the first usable one, in the order of `DATA_ORDER`.

        Args:
            whole: Include the retry chain and the data of each; otherwise only the positions and sizes.
        """

    async def apply(self, change: Change, now_ms: int, pace: Pace | None = None) -> list[Outcome]:
        """Carry out a change in one transaction; the outcomes are in the order of its tasks, and on the disk.

        Of concurrent changes each sees what those before it have done. So of several retries of one chain one writes a
        new task, and the others are answered RETRY_EXISTS (I5). Applied again, a change finds the facts as they are
        then.

        Args:
            now_ms: The time of what is written.
            pace: Measures the change; its `Others`, if any, were made by this store.

        Raises:
            DatabaseBusy: The transaction could not begin within `MOVED_WITHIN_S`; nothing was or will be written. After
                that time the relay may return to Redis what was taken out for the change.
            Unavailable: The store cannot write; nothing was written, unless it is `WriteUnconfirmed`.
        """


NOT_REMOVED = "task_not_removed"


def outcomes_of_bringing_back(task_ids: Sequence[str], came_back: Collection[str]) -> list[Outcome]:
    """The outcomes of bringing tasks back."""
    return [Outcome(task_id=task_id, reason=None if task_id in came_back else NOT_REMOVED) for task_id in task_ids]


def refused(task_id: str, error: ServiceError) -> Outcome:
    """The outcome of a task to which an error is the answer."""
    other = getattr(error, "task_id", None)
    return Outcome(task_id=task_id, reason=error.code, refusal=error, other_task_id=None if other == task_id else other)


def outcome_of_retry(candidate: Candidate, decision: RetryDecision) -> Outcome:
    """The outcome of a decision on a retry."""
    task_id, origin = candidate.task_id, decision.origin
    match decision.action:
        case RetryAction.RETRY:
            succession = decision.succession
            if succession is None:
                return Outcome(task_id=task_id, origin=origin)
            told = [task.task_id for task in succession.chain if task.calls_back and _ends_with_retry(task)]
            return Outcome(task_id=task_id, new_task=succession.task, origin=origin, told=tuple(told))
        case RetryAction.ANSWER_LIVE:
            return Outcome(task_id=task_id, reason=RETRY_EXISTS, other_task_id=decision.task_id, origin=origin)
        case RetryAction.LOOK | RetryAction.WITHDRAW:
            return Outcome(task_id=task_id, undecided=candidate)
    if decision.refusal is None:
        return Outcome(task_id=task_id, reason=NOT_NEWEST, origin=origin)
    return msgspec.structs.replace(refused(task_id, decision.refusal), origin=origin)


def undecided_among(outcomes: Iterable[Outcome]) -> list[Candidate]:
    """The tasks whose retry has to be prepared first."""
    return [outcome.undecided for outcome in outcomes if outcome.undecided is not None]


def _ends_with_retry(task: Position) -> bool:
    return task.place is Place.LEDGER or task.status == TaskStatus.UNKNOWN


def told_of(ended: Position | None) -> tuple[str, ...]:
    """The task, if it has a callback."""
    return () if ended is None or not ended.calls_back else (ended.task_id,)


def outcome_of_cancel(task_id: str, decision: CancelDecision, position: Position | None = None) -> Outcome:
    """The outcome of a decision on a cancellation. A task that is still to be withdrawn counts as held by a worker."""
    if decision.action is CancelAction.CANCEL:
        return Outcome(task_id=task_id, told=told_of(position))
    return refused(task_id, decision.refusal or TaskRunning(task_id))


def outcome_of_edit(edited: Edited, decision: EditDecision) -> Outcome:
    """The outcome of a decision on an edit. A task that is still to be withdrawn counts as held by a worker."""
    if decision.action is EditAction.EDIT:
        return Outcome(task_id=edited.task_id, edited=edited)
    return refused(edited.task_id, decision.refusal or TaskRunning(edited.task_id))


def outcome_of_removal(task_id: str, removal: Removal) -> Outcome:
    """The outcome of a decision on a removal."""
    return Outcome(task_id=task_id, reason=None if removal is Removal.ARCHIVED else removal.value)
