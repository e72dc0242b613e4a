"""A retry in one transaction: where the task and its relatives lie, the decision, and the new ledger row (I5)."""

from collections.abc import Callable, Sequence

import msgspec

from service.decisions import UNSAID, Grounds
from service.retry_rules import Action, Decision, Place, Position
from service.store.acceptance import accept_parameters
from service.store.completion import complete_tasks
from service.store.decisions import keep_send_again
from service.store.queries import load
from service.store.sqlite import sqlite3
from service.task import HELD, Task, TaskRecord, TaskStatus

Decide = Callable[[Position, Sequence[Position]], Decision]


def find_position(connection: sqlite3.Connection, task_id: str) -> Position | None:
    """Where a task lies; the ledger before the history before the archive."""
    row = connection.execute(load("find_position"), {"task_id": task_id}).fetchone()
    if row is None:
        return None
    place, status, chain_id, generation, accepted_by, sending = row
    return Position(
        task_id=task_id,
        place=Place(place),
        status=status or "",
        chain_id=chain_id or task_id,
        generation=generation or 0,
        inherited=place == Place.LEDGER and accepted_by is None,
        sending=sending is not None,
        held=sending == HELD,
    )


def find_relatives(connection: sqlite3.Connection, task: Position) -> list[Position]:
    """The other tasks of its retry chain."""
    rows = connection.execute(load("find_chain"), {"chain_id": task.chain_id, "task_id": task.task_id})
    return [
        Position(
            task_id=task_id,
            place=Place(place),
            status=status or "",
            chain_id=task.chain_id,
            generation=generation or 0,
        )
        for task_id, status, generation, place in rows
    ]


def resubmit_task(
    connection: sqlite3.Connection,
    stand_in: Position,
    task: Task,
    now_ms: int,
    decide: Decide,
    grounds: Grounds = UNSAID,
) -> tuple[Decision, Task]:
    """Decide, and on RESUBMIT write `task` into the ledger as the retry of `stand_in.task_id`.

    Args:
        stand_in: What is known of the task where no table has it, as for one that only Redis knows.
        grounds: Who wants it and why, kept if it takes force.

    Returns:
        The decision, and the task as it was written: with its place in the retry chain.
    """
    position = find_position(connection, stand_in.task_id) or stand_in
    relatives = find_relatives(connection, position)
    decision = decide(position, relatives)
    if decision.action is not Action.RESUBMIT:
        return decision, task
    task = msgspec.structs.replace(
        task,
        retry_of=position.task_id,
        root_id=position.chain_id,
        generation=1 + max(relative.generation for relative in [position, *relatives]),
    )
    _make_way(connection, position, task)
    connection.execute(load("accept_task"), accept_parameters(task, now_ms))
    keep_send_again(connection, [position, *relatives], task, grounds, now_ms)
    return decision, task


def _make_way(connection: sqlite3.Connection, position: Position, successor: Task) -> None:
    """A task that waited is waited for no longer: its successor takes its place."""
    message = f"Superseded by its retry {successor.task_id}"
    if position.place is Place.LEDGER:
        record = TaskRecord(
            task_id=position.task_id,
            status=TaskStatus.CANCELLED,
            task_data=successor.task_data,
            priority=successor.priority,
            finished_at_ms=successor.created_at_ms,
            error_message=message,
        )
        complete_tasks(connection, [record])
    elif position.place is Place.HISTORY and position.status in {TaskStatus.PENDING, TaskStatus.RETRY}:
        connection.execute(load("supersede_task"), {"task_id": position.task_id, "message": message})
