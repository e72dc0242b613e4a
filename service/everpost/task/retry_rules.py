"""May this task be retried? A pure function from what SQLite says to what happens next."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from everpost.errors import Conflict, NothingToDecide, OutcomeUnknown, TaskHeld, TaskRunning, TaskSucceeded
from everpost.task.model import WAITING, TaskStatus
from everpost.task.place import Place, Position


class RetryAction(StrEnum):
    """What a retry does."""

    RETRY = "retry"
    WITHDRAW = "withdraw"  # take it out of Redis first, then decide again
    ANSWER_LIVE = "answer_live"  # a retry exists already: its id is the answer (I5)
    REFUSE = "refuse"


class RetryDecision(msgspec.Struct, frozen=True):
    """A `RetryAction`, with the live retry's id or the reason to refuse."""

    action: RetryAction
    task_id: str | None = None
    refusal: Conflict | None = None


def decide_retry(
    task: Position, relatives: Sequence[Position], *, force: bool = False, withdrawn: bool = False
) -> RetryDecision:
    """What a retry of `task` does, given the other tasks of its retry chain.

    Args:
        force: A person looked and wants it sent again although it was, or may have been, published.
        withdrawn: Redis no longer has the task, and no worker held it.
    """
    live = next((other for other in relatives if other.place is Place.LEDGER), None)
    if live is not None:
        return RetryDecision(RetryAction.ANSWER_LIVE, live.task_id)
    refusal = None if force else refusal_of([task, *relatives])
    if refusal is not None:
        return RetryDecision(RetryAction.REFUSE, refusal=refusal)
    if task.place is not Place.LEDGER or task.inherited:
        return RetryDecision(RetryAction.RETRY)
    if task.held:
        return RetryDecision(RetryAction.REFUSE, refusal=TaskHeld(task.task_id))
    if task.sending or task.status not in WAITING:
        return RetryDecision(RetryAction.REFUSE, refusal=TaskRunning(task.task_id))
    return RetryDecision(RetryAction.RETRY if withdrawn else RetryAction.WITHDRAW)


def decide_send_again(task: Position, relatives: Sequence[Position], *, withdrawn: bool = False) -> RetryDecision:
    """What a person's decision to send `task` again does: a retry by force, but only while its outcome is unknown."""
    if task.status != TaskStatus.UNKNOWN:
        return RetryDecision(RetryAction.REFUSE, refusal=NothingToDecide(task.task_id, task.status))
    decision = decide_retry(task, relatives, force=True, withdrawn=withdrawn)
    if decision.action is RetryAction.ANSWER_LIVE:
        return RetryDecision(RetryAction.REFUSE, refusal=TaskRunning(str(decision.task_id)))
    return decision


def refusal_of(chain: Sequence[Position]) -> Conflict | None:
    """Why a retry of the first task of `chain`, its relatives behind it, takes force; None if it takes none."""
    for task in chain:
        if task.status == TaskStatus.SUCCESS:
            return TaskSucceeded(task.task_id)
    for task in chain:
        abandoned = task.status == TaskStatus.RUNNING and (task.inherited or task.place is not Place.LEDGER)
        if abandoned or task.status == TaskStatus.UNKNOWN:  # the original died on it, nobody knows when
            return OutcomeUnknown(task.task_id)
    return None


def decide_newest_retry(
    task: Position, relatives: Sequence[Position], *, force: bool = False, withdrawn: bool = False
) -> RetryDecision:
    """As `decide_retry`, but of a chain only the newest task is retried.

    So a filter that matches both a task and its failed retry does not publish twice. A refusal without an error means
    that a later retry of the task has ended.
    """
    decision = decide_retry(task, relatives, force=force, withdrawn=withdrawn)
    has_ended_retry = any(other.generation > task.generation and other.place is not Place.LEDGER for other in relatives)
    if has_ended_retry and decision.action is not RetryAction.REFUSE:
        return RetryDecision(RetryAction.REFUSE)
    return decision
