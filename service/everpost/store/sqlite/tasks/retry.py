"""Retries: the tasks as they are under the file's lock, and the new ledger rows (I5)."""

from collections.abc import Sequence

from everpost.store.changes import Outcome, Retry, undecided_among
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import accept_tasks
from everpost.store.sqlite.tasks.candidates import find_candidates
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.resolve import replace_unknown
from everpost.store.successions import (
    decide_retries,
    decisions_of,
    replaced_in_history,
    replaced_in_ledger,
    with_decisions,
)
from everpost.task.candidate import LARGEST_LOCKED
from everpost.task.resolution_rules import Decided
from everpost.task.retry_rules import Succession


def retry_tasks(connection: sqlite3.Connection, change: Retry, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Retry`."""
    outcomes: dict[int, Outcome] = {}
    while left := {number: task_id for number, task_id in enumerate(change.task_ids) if number not in outcomes}:
        candidates = find_candidates(connection, list(left.values()), most_bytes=LARGEST_LOCKED)
        decided, successions = decide_retries(change, dict(zip(left, candidates, strict=True)))
        if undecided_among(decided.values()):
            return list(decided.values())
        outcomes |= with_decisions(decided, _write(connection, change, successions, now_ms))
    return [outcomes[number] for number in range(len(change.task_ids))]


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
