"""Decisions of people about tasks of unknown outcome, table `decisions`: each is kept for ever, and one counts."""

from collections.abc import Sequence

import msgspec

from everpost.store.changes import Outcome, Resolve, refused, told_of
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.media.uses import mark_published
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tables import ENDED_TABLES
from everpost.store.sqlite.tasks.positions import find_positions
from everpost.task.model import TaskStatus
from everpost.task.place import Position
from everpost.task.resolution_rules import Decided


def find_decisions(connection: sqlite3.Connection, task_id: str) -> list[Decided]:
    """The decisions on a task, and the one it was made by; the oldest first."""
    rows = connection.execute(load("find_decisions"), {"task_id": task_id})
    return [Decided(**dict(zip(Decided.__struct_fields__, row, strict=True))) for row in rows]


def resolve_tasks(connection: sqlite3.Connection, change: Resolve) -> list[Outcome]:
    """See `everpost.store.changes.Resolve`."""
    positions = find_positions(connection, [decided.task_id for decided in change.decided])
    return [_resolve(connection, change, decided, positions.get(decided.task_id)) for decided in change.decided]


def _resolve(connection: sqlite3.Connection, change: Resolve, decided: Decided, position: Position | None) -> Outcome:
    task_id = decided.task_id
    refusal = change.rule(task_id, position, find_decisions(connection, task_id))
    if refusal is not None:
        return refused(task_id, refusal)
    _change(connection, "mark_succeeded", decided)
    mark_published(connection, task_id, decided.decided_at)
    _keep(connection, decided)
    return Outcome(task_id=task_id, decided=decided, told=told_of(position))


def replace_unknown(connection: sqlite3.Connection, decided: Sequence[Decided]) -> None:
    """Keep decisions to send tasks again, and cancel those of them that are unknown."""
    for decision in decided:
        _keep(connection, decision)
        if decision.status_before == TaskStatus.UNKNOWN:
            _change(connection, "replace_unknown", decision)


def _keep(connection: sqlite3.Connection, decided: Decided) -> None:
    connection.execute(load("keep_decision"), msgspec.structs.asdict(decided))


def _change(connection: sqlite3.Connection, statement: str, decided: Decided) -> None:
    """Apply a statement to the first table that has the unknown task."""
    parameters = msgspec.structs.asdict(decided)
    any(connection.execute(load(f"{statement}_{table}"), parameters).fetchall() for table in ENDED_TABLES)
