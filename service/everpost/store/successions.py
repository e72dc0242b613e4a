"""What a `Retry` writes, decided on the facts that a store has locked, once for every store."""

from collections.abc import Mapping, Sequence

import msgspec

from everpost.store.changes import Outcome, Retry, WantedRetry, outcome_of_retry
from everpost.store.positions import Chains, relatives_of
from everpost.task.model import Task, TaskRecord, TaskStatus
from everpost.task.place import Place, Position
from everpost.task.resolution_rules import Decided, decisions_of_retry
from everpost.task.retry_rules import RetryAction


class Succession(msgspec.Struct, frozen=True):
    """A new task, and the chain it joins: the task it retries first, then that one's relatives."""

    chain: Sequence[Position]
    task: Task

    @property
    def message(self) -> str:
        """The error message that the retried task gets, if it was waiting."""
        return f"Superseded by its retry {self.task.task_id}"


def positions_of(left: Mapping[int, WantedRetry], found: Mapping[str, Position]) -> dict[int, Position]:
    """The position that the rule gets for each wanted retry."""
    return {number: found.get(wanted.position.task_id, wanted.position) for number, wanted in left.items()}


def decide_retries(
    change: Retry, left: Mapping[int, WantedRetry], positions: Mapping[int, Position], chains: Chains
) -> tuple[dict[int, Outcome], list[Succession]]:
    """The outcomes of wanted retries, and what is to be written.

    If several wanted tasks are of one chain, only the first that gets a new task has an outcome. Decide about the
    others again when that task is written.
    """
    outcomes: dict[int, Outcome] = {}
    successions: dict[str, Succession] = {}
    for number, position in positions.items():
        if position.chain_id in successions:
            continue
        relatives = relatives_of(position, chains)
        decision, task = change.rule(position, relatives), left[number].task
        if decision.action is RetryAction.RETRY:
            task = _joined(task, [position, *relatives])
            successions[position.chain_id] = Succession([position, *relatives], task)
        outcomes[number] = outcome_of_retry(position.task_id, decision, task)
    return outcomes, list(successions.values())


def _joined(task: Task, chain: Sequence[Position]) -> Task:
    retried = chain[0]
    return msgspec.structs.replace(
        task,
        retry_of=retried.task_id,
        root_id=retried.chain_id,
        generation=1 + max(other.generation for other in chain),
    )


def replaced_in_ledger(successions: Sequence[Succession]) -> list[TaskRecord]:
    """The ends of retried tasks that wait in the ledger: their new tasks run in their place."""
    return [
        TaskRecord(
            task_id=one.chain[0].task_id,
            status=TaskStatus.CANCELLED,
            task_data=one.task.task_data,
            priority=one.task.priority,
            finished_at_ms=one.task.created_at_ms,
            error_message=one.message,
        )
        for one in successions
        if one.chain[0].place is Place.LEDGER
    ]


def replaced_in_history(successions: Sequence[Succession]) -> dict[str, str]:
    """The retried tasks that an original file left waiting in the history, each with its new error message."""
    waiting = {TaskStatus.PENDING, TaskStatus.RETRY}
    return {
        one.chain[0].task_id: one.message
        for one in successions
        if one.chain[0].place is Place.HISTORY and one.chain[0].status in waiting
    }


def decisions_of(successions: Sequence[Succession], change: Retry, now_ms: int) -> list[Decided]:
    """The decisions that are kept with the new tasks."""
    return [
        decision
        for one in successions
        for decision in decisions_of_retry(one.chain, one.task.task_id, change.grounds, now_ms)
    ]


def with_decisions(outcomes: Mapping[int, Outcome], decided: Sequence[Decided]) -> Mapping[int, Outcome]:
    """The outcomes, each with the decision about its task."""
    if not decided:
        return outcomes
    by_task = {decision.task_id: decision for decision in decided}
    return {
        number: msgspec.structs.replace(outcome, decided=by_task.get(outcome.task_id))
        for number, outcome in outcomes.items()
    }
