"""Moving ended tasks to the archive: the decision, and the moves."""

from everpost.clock import to_text
from everpost.store.changes import Outcome, Remove, outcome_of_removal
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.tasks.positions import lock_tasks
from everpost.task.place import Place
from everpost.task.removal_rules import Removal


async def remove_tasks(connection: Connection, change: Remove, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Remove`."""
    locked = await lock_tasks(connection, dict.fromkeys(change.task_ids))
    positions = locked.positions
    removals = {task_id: change.rule(positions.get(task_id)) for task_id in dict.fromkeys(change.task_ids)}
    leaving = [row for row in locked.rows if removals[row.task_id] is Removal.ARCHIVED]
    inherited = [row.task_id for row in leaving if row.inherited]
    ended = [row.task_id for row in leaving if row.place is Place.HISTORY]
    for statement, task_ids in (("archive_inherited", inherited), ("archive_tasks", ended)):
        if task_ids:
            await connection.run(statement, task_ids=task_ids, now=to_text(now_ms), reason=change.reason.value)
    return [outcome_of_removal(task_id, removals[task_id]) for task_id in change.task_ids]
