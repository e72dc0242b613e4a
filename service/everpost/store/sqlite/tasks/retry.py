"""Retries: where the tasks and their relatives are, the decisions, and the new ledger rows (I5)."""

from collections.abc import Mapping, Sequence

import msgspec

from everpost.store.changes import Outcome, Retry, WantedRetry, outcome_of_retry
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import accept_tasks
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.positions import find_chains, find_positions, relatives_of
from everpost.store.sqlite.tasks.resolve import replace_unknown
from everpost.task.model import Task, TaskRecord, TaskStatus
from everpost.task.place import Place, Position
from everpost.task.resolution_rules import Decided, decisions_of_retry
from everpost.task.retry_rules import RetryAction


class Succession(msgspec.Struct, frozen=True):
    """A new task, and the chain it joins: the task it retries first, then that one's relatives."""

    chain: Sequence[Position]
    task: Task


def retry_tasks(connection: sqlite3.Connection, change: Retry, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Retry`."""
    outcomes: dict[int, Outcome] = {}
    while left := {number: wanted for number, wanted in enumerate(change.wanted) if number not in outcomes}:
        outcomes |= _retry_some(connection, change, left, now_ms)
    return [outcomes[number] for number in range(len(change.wanted))]


def _retry_some(
    connection: sqlite3.Connection, change: Retry, left: Mapping[int, WantedRetry], now_ms: int
) -> dict[int, Outcome]:
    """Decide on all but further tasks of a chain that gets a new task: they are looked up again with that task."""
    found = find_positions(connection, {wanted.position.task_id for wanted in left.values()})
    positions = {number: found.get(wanted.position.task_id, wanted.position) for number, wanted in left.items()}
    chains = find_chains(connection, positions.values())
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
    decided = _write(connection, change, list(successions.values()), now_ms)
    return {
        number: msgspec.structs.replace(outcome, decided=decided.get(outcome.task_id)) if decided else outcome
        for number, outcome in outcomes.items()
    }


def _joined(task: Task, chain: Sequence[Position]) -> Task:
    retried = chain[0]
    return msgspec.structs.replace(
        task,
        retry_of=retried.task_id,
        root_id=retried.chain_id,
        generation=1 + max(other.generation for other in chain),
    )


def _write(
    connection: sqlite3.Connection, change: Retry, successions: Sequence[Succession], now_ms: int
) -> dict[str, Decided]:
    """Write the new tasks; the decisions that were kept with them, by the tasks they are about."""
    _make_way(connection, successions)
    accept_tasks(connection, [one.task for one in successions], now_ms)
    decided = [
        decision
        for one in successions
        for decision in decisions_of_retry(one.chain, one.task.task_id, change.grounds, now_ms)
    ]
    replace_unknown(connection, decided)
    return {decision.task_id: decision for decision in decided}


def _make_way(connection: sqlite3.Connection, successions: Sequence[Succession]) -> None:
    """End the retried tasks that wait: their new tasks run in their place."""
    waiting = [one for one in successions if one.chain[0].place is Place.LEDGER]
    end_tasks(connection, [_replaced(one.chain[0], one.task) for one in waiting])
    for one in successions:
        retried = one.chain[0]
        if retried.place is Place.HISTORY and retried.status in {TaskStatus.PENDING, TaskStatus.RETRY}:
            parameters = {"task_id": retried.task_id, "message": _message(one.task)}
            connection.execute(load("replace_waiting"), parameters)


def _replaced(retried: Position, new_task: Task) -> TaskRecord:
    return TaskRecord(
        task_id=retried.task_id,
        status=TaskStatus.CANCELLED,
        task_data=new_task.task_data,
        priority=new_task.priority,
        finished_at_ms=new_task.created_at_ms,
        error_message=_message(new_task),
    )


def _message(new_task: Task) -> str:
    return f"Superseded by its retry {new_task.task_id}"
