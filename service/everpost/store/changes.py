"""The port's noun `changes`: people's changes to tasks. A change is a value with a rule, applied under a lock.

The caller finds the tasks, takes waiting jobs out of Redis, and applies the change. The facts it found may be outdated
by then. So the rule decides again, on the facts inside the transaction that carries out its answer.

A rule is a pure function of `everpost.task`. A store may call it on another thread, and several times if it has to
repeat a transaction.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from everpost.errors import ServiceError, TaskRunning
from everpost.pace import Pace
from everpost.store.archive import Reason
from everpost.task.cancel_rules import CancelAction, CancelDecision
from everpost.task.model import Task
from everpost.task.place import Place, Position
from everpost.task.removal_rules import Removal
from everpost.task.resolution_rules import UNSAID, Decided, Grounds
from everpost.task.retry_rules import RetryAction, RetryDecision

DATA_ORDER = (Place.HISTORY, Place.LEDGER, Place.ARCHIVE)
"""Where a store looks for a task's data. A file of the original may have one id in two places."""

RETRY_EXISTS = "retry_exists"
NOT_NEWEST = "superseded"


class StoredData(msgspec.Struct, frozen=True, kw_only=True):
    """A task's data as a store has it.

    Attributes:
        place: Where it was found.
        task_data: The client's JSON object; empty if there is a `raw_job`.
        is_rebuilt: It was put together from single columns, because the whole is absent or damaged.
        raw_job: The message of a stock arq client, if no task data could be taken from it when it came.
    """

    place: Place
    task_data: bytes
    priority: int
    is_rebuilt: bool = False
    raw_job: bytes | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a caller wants changed.

    Attributes:
        position: None if the store does not have the task.
        size_bytes: The size of its data as stored; 0 if it has no data.
        relatives: The other tasks of its retry chain. If the task has ended, rows with the same id are among them:
            files of the original may have several.
        data: None if the store has neither the data nor the columns to rebuild it from.
    """

    task_id: str
    position: Position | None = None
    size_bytes: int = 0
    relatives: Sequence[Position] = ()
    data: StoredData | None = None


RetryRule: TypeAlias = Callable[[Position, Sequence[Position]], RetryDecision]
"""Decides about a task, given the other tasks of its retry chain; see `Candidate.relatives`."""

CancelRule: TypeAlias = Callable[[str, Position | None], CancelDecision]
"""Decides about the task with an id; the position is None if the store does not have it."""

RemovalRule: TypeAlias = Callable[[Position | None], Removal]
"""Decides about a row of a task; the position is None if the store does not have the task."""

ResolutionRule: TypeAlias = Callable[[str, Position | None, Sequence[Decided]], ServiceError | None]
"""Why the task with an id cannot be decided about, given its position and the decisions on record; None if it can."""


class WantedRetry(msgspec.Struct, frozen=True):
    """A retry that a caller wants.

    Attributes:
        position: What the rule is told if the store does not have the task, for instance because only Redis does.
        task: The new task. The store sets its place in the retry chain: `retry_of`, `root_id`, `generation`.
    """

    position: Position
    task: Task


class Retry(msgspec.Struct, frozen=True):
    """Run tasks again, each as a new task in the ledger.

    For each wanted retry in order, the rule is called with the task's position and its relatives, which include the new
    tasks of this change. What its answer does:

    - RETRY: the new task is written. A retried task that waited in the ledger moves to the history as cancelled. A row
      that an original file left waiting in the history is cancelled.
    - All others: nothing is written.

    If the retry takes force (`everpost.task.retry_rules.refusal_of`), it is kept as a decision, with its grounds, and
    every unknown task of the chain becomes cancelled and gets such a decision, too.

    Attributes:
        grounds: Who wants the retries, and why.
    """

    wanted: Sequence[WantedRetry]
    rule: RetryRule
    grounds: Grounds = UNSAID


class Cancel(msgspec.Struct, frozen=True):
    """Cancel tasks. On CANCEL, the task moves from the ledger to the history, as cancelled; else nothing is written."""

    task_ids: Sequence[str]
    rule: CancelRule


class Remove(msgspec.Struct, frozen=True):
    """Move ended tasks to the archive.

    Ended rows of the history and inherited rows of the ledger move there. The rule is called for each row with the id,
    and a row moves if it answers ARCHIVED; see `decide_on_rows`.
    """

    task_ids: Sequence[str]
    reason: Reason
    rule: RemovalRule


class Resolve(msgspec.Struct, frozen=True):
    """Make an unknown task a success, and keep the decision. If the rule refuses, nothing is written.

    Attributes:
        decided: The decision as it will be kept. Its post's id and URL go into the task, if they are given.
    """

    decided: Decided
    rule: ResolutionRule


Change: TypeAlias = Retry | Cancel | Remove | Resolve


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
    """

    task_id: str
    reason: str | None = None
    refusal: ServiceError | None = None
    new_task: Task | None = None
    other_task_id: str | None = None
    decided: Decided | None = None


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


def refused(task_id: str, error: ServiceError) -> Outcome:
    """The outcome of a task to which an error is the answer."""
    other = getattr(error, "task_id", None)
    return Outcome(task_id=task_id, reason=error.code, refusal=error, other_task_id=None if other == task_id else other)


def outcome_of_retry(task_id: str, decision: RetryDecision, new_task: Task | None = None) -> Outcome:
    """The outcome of a decision on a retry. A task that is still to be withdrawn counts as held by a worker."""
    match decision.action:
        case RetryAction.RETRY:
            return Outcome(task_id=task_id, new_task=new_task)
        case RetryAction.ANSWER_LIVE:
            return Outcome(task_id=task_id, reason=RETRY_EXISTS, other_task_id=decision.task_id)
        case RetryAction.WITHDRAW:
            return refused(task_id, TaskRunning(task_id))
    return (
        Outcome(task_id=task_id, reason=NOT_NEWEST) if decision.refusal is None else refused(task_id, decision.refusal)
    )


def outcome_of_cancel(task_id: str, decision: CancelDecision) -> Outcome:
    """The outcome of a decision on a cancellation. A task that is still to be withdrawn counts as held by a worker."""
    if decision.action is CancelAction.CANCEL:
        return Outcome(task_id=task_id)
    return refused(task_id, decision.refusal or TaskRunning(task_id))


def outcome_of_removal(task_id: str, removal: Removal) -> Outcome:
    """The outcome of a decision on a removal."""
    return Outcome(task_id=task_id, reason=None if removal is Removal.ARCHIVED else removal.value)
