"""Moving ended tasks to the archive: the decision, and the moves."""

from itertools import compress

from everpost.store.archive import Reason
from everpost.store.changes import Outcome, Remove, outcome_of_removal
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.archive import archive_rows
from everpost.store.sqlite.tasks.positions import find_rows
from everpost.task.place import Place
from everpost.task.removal_rules import decide_on_rows


def remove_tasks(connection: sqlite3.Connection, change: Remove, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Remove`."""
    task_ids = list(dict.fromkeys(change.task_ids))
    found = find_rows(connection, task_ids)
    removals, leaves = decide_on_rows([row.position for row in found], task_ids, change.rule)
    leaving = list(compress(found, leaves))
    for row in leaving:
        if row.position.inherited:
            _archive_inherited(connection, row.number, row.position.task_id, change.reason, now_ms)
    ended = [row.number for row in leaving if row.position.place is Place.HISTORY]
    archive_rows(connection, ended, change.reason, now_ms)
    return [outcome_of_removal(task_id, removals[task_id]) for task_id in change.task_ids]


def _archive_inherited(
    connection: sqlite3.Connection, ledger_row: int, task_id: str, reason: Reason, now_ms: int
) -> None:
    """Move an inherited ledger row by way of the history, which gives it a row number that is never used again.

    It is there without its id, because the history may have a row with the same one.
    """
    history_row = connection.execute(load("move_inherited"), {"row": ledger_row}).lastrowid
    connection.execute(load("forget_inherited"), {"row": ledger_row})
    assert history_row is not None
    archive_rows(connection, [history_row], reason, now_ms, task_id=task_id)
