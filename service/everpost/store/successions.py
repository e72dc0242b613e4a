"""What a `Retry` writes, decided on the facts that a store has locked, once for every store."""

from collections.abc import Mapping, Sequence

import msgspec

from everpost.errors import ServiceError
from everpost.store.changes import Outcome, Retry, outcome_of_retry, refused
from everpost.task.candidate import Candidate
from everpost.task.duplicate_rules import Guard
from everpost.task.model import TaskRecord, TaskStatus
from everpost.task.place import Place
from everpost.task.resolution_rules import Decided, decisions_of_retry
from everpost.task.retry_rules import Succession


def decide_retries(change: Retry, left: Mapping[int, Candidate]) -> tuple[dict[int, Outcome], list[Succession]]:
    """The outcomes of wanted retries, and what is to be written.

    If tasks are undecided, only these have outcomes. If several wanted tasks are of one chain, only the first that gets
    a new task has an outcome. Decide about the others again when that task is written.
    """
    outcomes: dict[int, Outcome] = {}
    undecided: dict[int, Outcome] = {}
    successions: dict[str, Succession] = {}
    for number, candidate in left.items():
        decision = change.rule(candidate)
        outcome = outcome_of_retry(candidate, decision)
        if outcome.undecided is not None:
            undecided[number] = outcome
        elif (chain_id := candidate.chain_id) not in successions:
            outcomes[number] = outcome
            if decision.succession is not None:
                successions[chain_id] = decision.succession
    return (undecided, []) if undecided else (outcomes, list(successions.values()))


def guards_of(successions: Sequence[Succession]) -> dict[str, Guard]:
    """The guards of the new tasks that have one."""
    return {one.task.task_id: one.guard for one in successions if one.guard is not None}


def without_refused(
    outcomes: Mapping[int, Outcome], successions: Sequence[Succession], refusals: Mapping[str, ServiceError]
) -> tuple[dict[int, Outcome], list[Succession]]:
    """The outcomes and successions if some new tasks, which `refusals` names, must not be written."""
    kept = {
        number: outcome
        if outcome.new_task is None or (error := refusals.get(outcome.new_task.task_id)) is None
        else msgspec.structs.replace(refused(outcome.task_id, error), origin=outcome.origin)
        for number, outcome in outcomes.items()
    }
    return kept, [one for one in successions if one.task.task_id not in refusals]


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
