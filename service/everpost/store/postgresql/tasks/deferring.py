"""Failed attempts whose tasks wait for their next one."""

from collections.abc import Sequence

import msgspec

from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text
from everpost.store.postgresql.tasks.attempts import Attempts
from everpost.task.model import Attempt


class Deferred(msgspec.Struct, frozen=True):
    """A failed attempt, when the next one is due, and whether it counts against the platform's `max_attempts`."""

    task_id: str
    attempt: Attempt
    due_at: str
    spent: bool


async def defer_tasks(connection: Connection, deferred: Sequence[Deferred]) -> None:
    """Keep failed attempts. A task that is not in the ledger stays as it is; one that comes twice is written twice."""
    once = {each.task_id: each for each in reversed(deferred)}
    again = [each for each in deferred if each is not once[each.task_id]]
    locked = await connection.fetch_all("lock_claims", task_ids=list(once))
    rows = [_row_of(once[row["task_id"]], row["attempts"]) for row in locked]
    if rows:
        await connection.run("defer_tasks", rows=json_text(rows))
    if again:
        await defer_tasks(connection, again)


def _row_of(deferred: Deferred, column: str | None) -> dict[str, object]:
    attempts = Attempts(column)
    attempts.add(deferred.attempt)
    return {
        "task_id": deferred.task_id,
        "attempts": attempts.text,
        "number": deferred.attempt.number,
        "spent": int(deferred.spent),
        "error_message": deferred.attempt.error,
        "due_at": deferred.due_at,
        "finished_at": deferred.attempt.finished_at,
    }
