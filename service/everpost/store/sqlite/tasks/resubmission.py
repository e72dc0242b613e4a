"""Retries in one transaction: where the tasks and their relatives lie, the decisions, and the new ledger rows (I5)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import msgspec

from everpost.errors import ServiceError
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.faults import is_undecodable
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import accept_tasks
from everpost.store.sqlite.tasks.decisions import keep_send_again
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.payloads import StoredPayload, find_payloads
from everpost.store.sqlite.tasks.positions import find_chains, find_positions, json_list, relatives_of
from everpost.task.model import MOVED_WITHIN_S, Task, TaskRecord, TaskStatus
from everpost.task.place import Place, Position
from everpost.task.resolution_rules import UNSAID, Grounds
from everpost.task.retry_rules import RetryAction, RetryDecision

LARGEST_BYTES = 65_536  # of a task that is read and decoded inside a transaction

Decide = Callable[[Position, Sequence[Position]], RetryDecision]


class Resubmission(msgspec.Struct, frozen=True):
    """A retry somebody wants.

    Attributes:
        stand_in: What is known of the task where no table has it, as for one that only Redis knows.
        task: The new task, but for its place in the retry chain.
    """

    stand_in: Position
    task: Task


Answer = tuple[RetryDecision, Task]
"""A decision, and the new task: on RESUBMIT as it was written, with its place in the retry chain."""


Note = TypeVar("Note")
Prepare = Callable[[StoredPayload], tuple[Resubmission, Note]]
"""Makes a retry of a task's data, and whatever else its caller wants to know of it; called in the writer's thread, and
possibly several times."""


class Succession(msgspec.Struct, frozen=True):
    """A new task, and the chain it joins: the task it retries first, then that one's relatives."""

    chain: Sequence[Position]
    task: Task


def resubmit_tasks(
    connection: sqlite3.Connection,
    wanted: Sequence[Resubmission],
    now_ms: int,
    decide: Decide,
    grounds: Grounds = UNSAID,
) -> list[Answer]:
    """Decide on each retry in order, and write the new tasks of those to RESUBMIT into the ledger.

    Args:
        grounds: Who wants them and why, kept if it takes force.
    """
    answers: dict[int, Answer] = {}
    while left := {number: retry for number, retry in enumerate(wanted) if number not in answers}:
        decided, successions = _decide_some(connection, left, decide)
        _make_way(connection, successions)
        accept_tasks(connection, [succession.task for succession in successions], now_ms)
        for succession in successions:
            keep_send_again(connection, succession.chain, succession.task, grounds, now_ms)
        answers |= decided
    return [answers[number] for number in range(len(wanted))]


def resubmit_from_history(
    connection: sqlite3.Connection,
    task_id: str,
    prepare: Prepare[Note],
    now_ms: int,
    decide: Decide,
    grounds: Grounds = UNSAID,
) -> tuple[Answer, Note] | ServiceError | None:
    """Make a retry of what the history has of a task, and decide on it as `resubmit_tasks` does.

    None if the history has nothing of it, or nothing to be read here, where others wait for the file's lock. An error
    of `prepare` is returned, not raised: else all that is committed together would be done again.
    """
    (size_bytes,) = connection.execute(load("payload_sizes"), {"task_ids": json_list([task_id])}).fetchone()
    if size_bytes > LARGEST_BYTES:
        return None
    try:
        payload = find_payloads(connection, Place.HISTORY, [task_id]).get(task_id)
    except sqlite3.OperationalError as error:
        if not is_undecodable(error):
            raise
        return None
    if payload is None:
        return None
    try:
        retry, note = prepare(payload)
    except ServiceError as error:
        return error
    return resubmit_tasks(connection, [retry], now_ms, decide, grounds)[0], note


def _decide_some(
    connection: sqlite3.Connection, wanted: Mapping[int, Resubmission], decide: Decide
) -> tuple[dict[int, Answer], Collection[Succession]]:
    """Decide on all but the tasks of a chain that gets a new task: these are looked up again once it is written."""
    found = find_positions(connection, {retry.stand_in.task_id for retry in wanted.values()})
    positions = {number: found.get(retry.stand_in.task_id, retry.stand_in) for number, retry in wanted.items()}
    chains = find_chains(connection, positions.values())
    answers: dict[int, Answer] = {}
    successions: dict[str, Succession] = {}
    for number, position in positions.items():
        if position.chain_id in successions:
            continue
        relatives = relatives_of(position, chains)
        decision, task = decide(position, relatives), wanted[number].task
        if decision.action is RetryAction.RETRY:
            task = _joined(task, [position, *relatives])
            successions[position.chain_id] = Succession([position, *relatives], task)
        answers[number] = decision, task
    return answers, successions.values()


def _joined(task: Task, chain: Sequence[Position]) -> Task:
    retried = chain[0]
    return msgspec.structs.replace(
        task,
        retry_of=retried.task_id,
        root_id=retried.chain_id,
        generation=1 + max(other.generation for other in chain),
    )


def _make_way(connection: sqlite3.Connection, successions: Collection[Succession]) -> None:
    """A task that waited is waited for no longer: its successor takes its place."""
    waiting = [one for one in successions if one.chain[0].place is Place.LEDGER]
    end_tasks(connection, [_superseded(one.chain[0], one.task) for one in waiting])
    for one in successions:
        retried = one.chain[0]
        if retried.place is Place.HISTORY and retried.status in {TaskStatus.PENDING, TaskStatus.RETRY}:
            message = _message(one.task)
            connection.execute(load("supersede_task"), {"task_id": retried.task_id, "message": message})


def _superseded(retried: Position, successor: Task) -> TaskRecord:
    return TaskRecord(
        task_id=retried.task_id,
        status=TaskStatus.CANCELLED,
        task_data=successor.task_data,
        priority=successor.priority,
        finished_at_ms=successor.created_at_ms,
        error_message=_message(successor),
    )


def _message(successor: Task) -> str:
    return f"Superseded by its retry {successor.task_id}"


class Resubmitter:
    """Writes retries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resubmit_task(
        self, stand_in: Position, task: Task, now_ms: int, decide: Decide, grounds: Grounds = UNSAID
    ) -> tuple[RetryDecision, Task]:
        """Decide on a retry and write its task down, in one transaction; see `resubmit_tasks`."""
        wanted = [Resubmission(stand_in, task)]
        answers = await self._database.write(
            lambda connection: resubmit_tasks(connection, wanted, now_ms, decide, grounds), within_s=MOVED_WITHIN_S
        )
        return answers[0]

    async def resubmit_from_history(
        self, task_id: str, prepare: Prepare[Note], now_ms: int, decide: Decide, grounds: Grounds = UNSAID
    ) -> tuple[Answer, Note] | None:
        """As `resubmit_task`, of a task the history has; see `resubmit_from_history`.

        Raises:
            ServiceError: `prepare` did.
        """
        answer = await self._database.write(
            lambda connection: resubmit_from_history(connection, task_id, prepare, now_ms, decide, grounds),
            within_s=MOVED_WITHIN_S,
        )
        assert not isinstance(answer, ServiceError), "an error among the answers of a commit is raised"
        return answer
