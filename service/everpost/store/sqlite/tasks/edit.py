"""Editing waiting tasks: the decision, the new version, and what is kept of the edit."""

from everpost.store.changes import Edit, Outcome, outcome_of_edit
from everpost.store.edits import SHOWN_EDITS, edited_row, guards_of, kept_edits, without_duplicates
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.media.uses import use_files
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.duplicates import duplicates_among, keep_guards
from everpost.store.sqlite.tasks.positions import find_positions
from everpost.task.edit_rules import Edited, EditFacts, KeptEdit
from everpost.task.place import Position


def edit_tasks(connection: sqlite3.Connection, change: Edit, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Edit`."""
    positions = find_positions(connection, change.versions)
    outcomes = []
    for task_id, edited in change.versions.items():
        facts = _facts_of(connection, positions.get(task_id), edited)
        outcome = outcome_of_edit(edited, change.rule(task_id, facts))
        guards = guards_of([outcome], positions)
        (outcome,) = without_duplicates([outcome], duplicates_among(connection, guards) if guards else {})
        if outcome.reason is None:
            row = edited_row(edited, now_ms)
            connection.execute(load("edit_task"), row)
            connection.execute(load("keep_edit"), row)
            connection.execute(load("forget_former_uses"), row)
            use_files(connection, [edited])
            for guard in guards.values():
                forgotten = {"digest": edited.former_digest, "task_id": guard.chain_id}
                connection.execute(load("forget_recent_post"), forgotten)
            keep_guards(connection, guards)
        outcomes.append(outcome)
    return outcomes


def _facts_of(connection: sqlite3.Connection, position: Position | None, edited: Edited) -> EditFacts:
    asked = {"task_id": edited.task_id, "data": edited.before_data, "priority": edited.before_priority}
    found = connection.execute(load("find_edited"), asked).fetchone()
    attempts, is_as_read = found or (None, False)
    return EditFacts(position=position, attempts=attempts, is_as_read=bool(is_as_read))


def find_edits(connection: sqlite3.Connection, task_id: str) -> list[KeptEdit]:
    """The newest edits of a task, the oldest first."""
    cursor = connection.execute(load("find_edits"), {"task_id": task_id, "limit": SHOWN_EDITS})
    names = [column[0] for column in cursor.description]
    return kept_edits(dict(zip(names, row, strict=True)) for row in cursor)
