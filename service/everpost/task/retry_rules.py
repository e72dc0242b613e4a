"""Decides whether a task may be retried: a pure function from the store's facts to the next step."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from everpost.errors import (
    Conflict,
    NothingToDecide,
    OutcomeUnknown,
    ServiceError,
    TaskHeld,
    TaskNotCancelled,
    TaskRunning,
    TaskSucceeded,
)
from everpost.task.duplicate_rules import Guard
from everpost.task.model import UNTOLD, WAITING, Task, TaskStatus
from everpost.task.place import Place, Position

MAYBE_SENT = frozenset({TaskStatus.SUCCESS, TaskStatus.UNKNOWN, TaskStatus.RUNNING})


class RetryAction(StrEnum):
    """The next step of a retry."""

    RETRY = "retry"
    LOOK = "look"  # look for the data elsewhere first, then decide again
    WITHDRAW = "withdraw"  # take the job out of Redis first, then decide again
    ANSWER_LIVE = "answer_live"  # an unfinished retry exists: answer with its id (I5)
    REFUSE = "refuse"


class DataOrigin(msgspec.Struct, frozen=True):
    """Where the data for a retry came from, as clients are told.

    Attributes:
        differs: Redis had other data than the store; the store's data is used.
    """

    source: str
    warning: str | None = None
    differs: bool = False


class Succession(msgspec.Struct, frozen=True):
    """A new task, and the chain it joins: the task it retries first, then that one's relatives.

    Attributes:
        guard: What the new task is compared by; None if its platform has no guard against duplicates.
        is_edited: Its data was edited, so it may name other files.
    """

    chain: Sequence[Position]
    task: Task
    guard: Guard | None = None
    is_edited: bool = False

    @property
    def message(self) -> str:
        """The error message that the retried task gets, if it was waiting."""
        return f"Superseded by its retry {self.task.task_id}"


class RetryDecision(msgspec.Struct, frozen=True):
    """A `RetryAction`, with the unfinished retry's id, the reason to refuse, or what is to be written."""

    action: RetryAction
    task_id: str | None = None
    refusal: ServiceError | None = None
    succession: Succession | None = None
    origin: DataOrigin | None = None


def decide_retry(
    task: Position, relatives: Sequence[Position], *, force: bool = False, withdrawn: bool = False
) -> RetryDecision:
    """Decide the next step of a retry of `task`, given the other tasks of its retry chain.

    Args:
        force: A person wants it sent again although it was, or may have been, published.
        withdrawn: The job was taken out of Redis, and no worker held it.
    """
    for other in relatives:
        if other.place is Place.LEDGER:
            return RetryDecision(RetryAction.ANSWER_LIVE, other.task_id)
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


def succession_of(
    chain: Sequence[Position], task: Task, guard: Guard | None = None, *, is_edited: bool = False
) -> Succession:
    """The succession of a new task, with its place in the retry chain. Its batch counts it as it counted the others."""
    retried = chain[0]
    generation = 1 + max([other.generation for other in chain])
    url = task.callback_url or (UNTOLD if retried.calls_back else None)
    joined = msgspec.structs.replace(
        task,
        retry_of=retried.task_id,
        root_id=retried.chain_id,
        generation=generation,
        callback_url=url,
        submitted_by=retried.submitted_by,
    )
    joined_guard = None if guard is None else msgspec.structs.replace(guard, chain_id=retried.chain_id)
    return Succession(chain, joined, joined_guard, is_edited)


def decide_send_again(task: Position, relatives: Sequence[Position], *, withdrawn: bool = False) -> RetryDecision:
    """Decide what sending `task` again does: a forced retry, but only while the task's outcome is unknown."""
    if task.status != TaskStatus.UNKNOWN:
        return RetryDecision(RetryAction.REFUSE, refusal=NothingToDecide(task.task_id, task.status))
    decision = decide_retry(task, relatives, force=True, withdrawn=withdrawn)
    if decision.action is RetryAction.ANSWER_LIVE:
        return RetryDecision(RetryAction.REFUSE, refusal=TaskRunning(str(decision.task_id)))
    return decision


def decide_undo(task: Position, relatives: Sequence[Position], *, withdrawn: bool = False) -> RetryDecision:
    """Decide what undoing the cancellation of `task` does: a retry, if it is still cancelled and was not retried since.

    A refusal without an error means that a retry of the task has ended.
    """
    later = [other for other in relatives if other.generation > task.generation]
    for other in later:
        if other.place is Place.LEDGER:
            return RetryDecision(RetryAction.ANSWER_LIVE, other.task_id)
    if later:
        return RetryDecision(RetryAction.REFUSE)
    if task.place is not Place.HISTORY or task.status != TaskStatus.CANCELLED:
        return RetryDecision(RetryAction.REFUSE, refusal=TaskNotCancelled(task.task_id))
    return decide_retry(task, relatives, withdrawn=withdrawn)


def refusal_of(chain: Sequence[Position]) -> Conflict | None:
    """Why a retry of `chain`'s first task needs force; the rest of `chain` are its relatives. None if it needs none."""
    sent = [task for task in chain if task.status in MAYBE_SENT]
    for task in sent:
        if task.status == TaskStatus.SUCCESS:
            return TaskSucceeded(task.task_id)
    for task in sent:
        # The original died while it ran an abandoned task, so the outcome is unknown.
        if task.status == TaskStatus.UNKNOWN or task.inherited or task.place is not Place.LEDGER:
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
    ended = [other for other in relatives if other.generation > task.generation and other.place is not Place.LEDGER]
    if ended and decision.action is not RetryAction.REFUSE:
        return RetryDecision(RetryAction.REFUSE)
    return decision
