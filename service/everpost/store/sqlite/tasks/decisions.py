"""Decisions of people about tasks whose outcome nobody knows: each is kept for ever, and of two at once one counts."""

from collections.abc import Sequence

import msgspec

from everpost.clock import to_text
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tables import TABLES
from everpost.task.model import Task, TaskStatus
from everpost.task.place import Place, Position
from everpost.task.resolution_rules import Decided, DecisionKind, Grounds
from everpost.task.retry_rules import refusal_of

SETTLED = (Place.HISTORY, Place.ARCHIVE)  # where a task of unknown outcome may lie


class Decisions:
    """The decisions on record."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mark_succeeded(
        self, task_id: str, grounds: Grounds, now_ms: int, *, provider_post_id: str | None, publish_url: str | None
    ) -> Decided | None:
        """Have an unknown task be a success; None, and nothing changed, if it is not unknown (any more)."""
        decided = Decided(
            task_id=task_id,
            decision=DecisionKind.SUCCEEDED,
            status_before=TaskStatus.UNKNOWN,
            decided_at=to_text(now_ms),
            decided_by=grounds.by,
            why=grounds.why,
            provider_post_id=provider_post_id,
            publish_url=publish_url,
        )
        return decided if await self._database.write(lambda connection: _mark_succeeded(connection, decided)) else None

    async def find(self, task_id: str) -> list[Decided]:
        """The decisions on a task and the one it was made by, the oldest first."""
        return await self._database.read(lambda connection: find_decisions(connection, task_id))


def find_decisions(connection: sqlite3.Connection, task_id: str) -> list[Decided]:
    """See `Decisions.find`."""
    rows = connection.execute(load("find_decisions"), {"task_id": task_id})
    return [Decided(**dict(zip(Decided.__struct_fields__, row, strict=True))) for row in rows]


def keep_send_again(
    connection: sqlite3.Connection, chain: Sequence[Position], successor: Task, grounds: Grounds, now_ms: int
) -> None:
    """Keep what a retry by force is, a decision; what was unknown of its chain waits for none any more.

    Args:
        chain: The task that is retried, then its relatives.
        successor: The new task.
    """
    if refusal_of(chain) is None:  # an ordinary retry
        return
    retried = chain[0].task_id
    for task in {task.task_id: task for task in chain}.values():
        is_unknown = task.status == TaskStatus.UNKNOWN
        if task.task_id == retried or is_unknown:
            decided = Decided(
                task_id=task.task_id,
                decision=DecisionKind.SEND_AGAIN,
                status_before=task.status,
                decided_at=to_text(now_ms),
                decided_by=grounds.by,
                why=grounds.why,
                new_task_id=successor.task_id,
            )
            _keep(connection, decided)
        if is_unknown:
            _change(connection, "replace_unknown", decided)


def _mark_succeeded(connection: sqlite3.Connection, decided: Decided) -> bool:
    if not _change(connection, "mark_succeeded", decided):
        return False
    _keep(connection, decided)
    return True


def _keep(connection: sqlite3.Connection, decided: Decided) -> None:
    connection.execute(load("keep_decision"), msgspec.structs.asdict(decided))


def _change(connection: sqlite3.Connection, statement: str, decided: Decided) -> bool:
    """Apply a statement to the table the unknown task lies in; False if it is in none."""
    parameters = msgspec.structs.asdict(decided)
    return any(connection.execute(load(f"{statement}_{TABLES[place]}"), parameters).fetchall() for place in SETTLED)
