"""Retries: where the tasks and their relatives are, and the new ledger rows (I5)."""

from collections.abc import Mapping, Sequence

from everpost.store.changes import Outcome, Retry, WantedRetry
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import accept_tasks
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.positions import find_chains, find_positions
from everpost.store.sqlite.tasks.resolve import replace_unknown
from everpost.store.successions import (
    Succession,
    decide_retries,
    decisions_of,
    positions_of,
    replaced_in_history,
    replaced_in_ledger,
    with_decisions,
)
from everpost.task.resolution_rules import Decided


def retry_tasks(connection: sqlite3.Connection, change: Retry, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Retry`."""
    outcomes: dict[int, Outcome] = {}
    while left := {number: wanted for number, wanted in enumerate(change.wanted) if number not in outcomes}:
        outcomes |= _retry_some(connection, change, left, now_ms)
    return [outcomes[number] for number in range(len(change.wanted))]


def _retry_some(
    connection: sqlite3.Connection, change: Retry, left: Mapping[int, WantedRetry], now_ms: int
) -> Mapping[int, Outcome]:
    found = find_positions(connection, {wanted.position.task_id for wanted in left.values()})
    positions = positions_of(left, found)
    outcomes, successions = decide_retries(change, left, positions, find_chains(connection, positions.values()))
    return with_decisions(outcomes, _write(connection, change, successions, now_ms))


def _write(
    connection: sqlite3.Connection, change: Retry, successions: Sequence[Succession], now_ms: int
) -> list[Decided]:
    """Write the new tasks; return the decisions that were kept with them."""
    end_tasks(connection, replaced_in_ledger(successions))
    for task_id, message in replaced_in_history(successions).items():
        connection.execute(load("replace_waiting"), {"task_id": task_id, "message": message})
    accept_tasks(connection, [one.task for one in successions], now_ms)
    decided = decisions_of(successions, change, now_ms)
    replace_unknown(connection, decided)
    return decided
