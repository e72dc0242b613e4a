"""What bulk work does to a chunk of tasks, inside the transaction that also records how far it has come."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import msgspec

from everpost.store.archive import Reason
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.archive import archive_tasks
from everpost.store.sqlite.tasks.cancellation import cancel_tasks
from everpost.store.sqlite.tasks.resubmission import Resubmission, resubmit_tasks
from everpost.task.model import Task
from everpost.task.place import Position
from everpost.task.removal_rules import Removal
from everpost.task.retry_rules import RetryAction, RetryDecision

DecideRetry = Callable[[Position, Sequence[Position], bool], RetryDecision]
"""The decision on a retry; the third argument says that Redis no longer has the task."""

RETRY_EXISTS = "retry_exists"
SUPERSEDED = "superseded"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one task.

    Attributes:
        reason: Why nothing was done: an error's code, or one of this module's; None if it was done.
        new_task: The retry that was written down.
        other_task_id: The task that stands in the way.
    """

    task_id: str
    reason: str | None = None
    new_task: Task | None = None
    other_task_id: str | None = None


Change = Callable[[sqlite3.Connection], list[Outcome]]
"""Done to a chunk, in a transaction of the caller's; it may run several times, of which all but one are rolled back."""


def retry_chunk(
    resubmissions: Sequence[Resubmission], withdrawn: Collection[str], now_ms: int, decide: DecideRetry
) -> Change:
    """Retry tasks, each if the decision, taken inside the transaction, allows it."""

    def retry(connection: sqlite3.Connection) -> list[Outcome]:
        answers = resubmit_tasks(
            connection,
            resubmissions,
            now_ms,
            lambda position, relatives: decide(position, relatives, position.task_id in withdrawn),
        )
        return [
            outcome_of(wanted.stand_in.task_id, decision, task)
            for wanted, (decision, task) in zip(resubmissions, answers, strict=True)
        ]

    return retry


def outcome_of(task_id: str, decision: RetryDecision, task: Task | None) -> Outcome:
    """The outcome of a decision on a retry; one to withdraw was not withdrawn: a worker holds it."""
    match decision.action:
        case RetryAction.RETRY:
            return Outcome(task_id=task_id, new_task=task)
        case RetryAction.ANSWER_LIVE:
            return Outcome(task_id=task_id, reason=RETRY_EXISTS, other_task_id=decision.task_id)
        case RetryAction.WITHDRAW:
            return Outcome(task_id=task_id, reason="task_running")
        case RetryAction.REFUSE if decision.refusal is not None:
            other = decision.refusal.task_id
            return Outcome(
                task_id=task_id, reason=decision.refusal.code, other_task_id=None if other == task_id else other
            )
    return Outcome(task_id=task_id, reason=SUPERSEDED)


def cancel_chunk(task_ids: Sequence[str], withdrawn: Collection[str], now_ms: int) -> Change:
    """Cancel tasks that wait and that Redis has given up; inherited ones without asking."""

    def cancel(connection: sqlite3.Connection) -> list[Outcome]:
        refused = cancel_tasks(connection, task_ids, withdrawn, now_ms)
        return outcomes_of_errors(task_ids, {task_id: error.code for task_id, error in refused.items()})

    return cancel


def remove_chunk(task_ids: Sequence[str], reason: Reason, now_ms: int) -> Change:
    """Move ended tasks to the archive."""
    return partial(_remove, task_ids=task_ids, reason=reason, now_ms=now_ms)


def _remove(connection: sqlite3.Connection, *, task_ids: Sequence[str], reason: Reason, now_ms: int) -> list[Outcome]:
    removals = archive_tasks(connection, task_ids, reason, now_ms)
    return [outcome_of_removal(task_id, removals[task_id]) for task_id in task_ids]


def outcome_of_removal(task_id: str, removal: Removal) -> Outcome:
    """What became of a task that was to go to the archive."""
    return Outcome(task_id=task_id, reason=None if removal is Removal.ARCHIVED else removal.value)


def outcomes_of_errors(task_ids: Sequence[str], reasons: Mapping[str, str]) -> list[Outcome]:
    """An outcome for each task, done unless there is a reason why not."""
    return [Outcome(task_id=task_id, reason=reasons.get(task_id)) for task_id in task_ids]
