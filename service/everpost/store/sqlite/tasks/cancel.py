"""Cancelling tasks: the decision, and the move from the ledger to the history."""

from everpost.store.changes import Cancel, Outcome, outcome_of_cancel
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.positions import find_positions
from everpost.task.cancel_rules import cancelled_record


def cancel_tasks(connection: sqlite3.Connection, change: Cancel, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Cancel`."""
    positions = find_positions(connection, change.task_ids)
    outcomes = [
        outcome_of_cancel(task_id, change.rule(task_id, positions.get(task_id)), positions.get(task_id))
        for task_id in change.task_ids
    ]
    cancelled = [cancelled_record(outcome.task_id, now_ms) for outcome in outcomes if outcome.reason is None]
    end_tasks(connection, cancelled)
    return outcomes
