"""Moving ended tasks to the archive: the decision, and the moves."""

from itertools import compress

from everpost.clock import to_text
from everpost.store.changes import Outcome, Remove, outcome_of_removal
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.tasks.positions import lock_tasks
from everpost.task.place import Place
from everpost.task.removal_rules import decide_on_rows


async def remove_tasks(connection: Connection, change: Remove, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Remove`."""
    task_ids = list(dict.fromkeys(change.task_ids))
    rows = [row.position for row in (await lock_tasks(connection, task_ids)).rows]
    removals, leaves = decide_on_rows(rows, task_ids, change.rule)
    leaving = list(compress(rows, leaves))
    inherited = [row.task_id for row in leaving if row.inherited]
    ended = [row.task_id for row in leaving if row.place is Place.HISTORY]
    for statement, ids in (("archive_inherited", inherited), ("archive_tasks", ended)):
        if ids:
            await connection.run(statement, task_ids=ids, now=to_text(now_ms), reason=change.reason.value)
    return [outcome_of_removal(task_id, removals[task_id]) for task_id in change.task_ids]
