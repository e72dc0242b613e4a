"""Editing waiting tasks: the decision on locked rows, the new version, and what is kept of the edit."""

from collections.abc import Mapping

from everpost.store.changes import Edit, Outcome, outcome_of_edit
from everpost.store.edits import edited_row, guards_of, without_duplicates
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text, storable
from everpost.store.postgresql.media.uses import use_files
from everpost.store.postgresql.tasks.duplicates import keep_guards, lock_duplicates
from everpost.store.postgresql.tasks.positions import lock_tasks
from everpost.task.duplicate_rules import Guard
from everpost.task.edit_rules import EditFacts


async def edit_tasks(connection: Connection, change: Edit, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Edit`."""
    positions = (await lock_tasks(connection, change.versions)).positions
    versions = [edited for task_id, edited in change.versions.items() if storable(task_id) == task_id]
    rows = await connection.fetch_all(
        "find_edited",
        task_ids=[edited.task_id for edited in versions],
        data=[edited.before_data.decode() for edited in versions],
        priorities=[edited.before_priority for edited in versions],
    )
    found = {row["task_id"]: row for row in rows}
    outcomes = []
    for task_id, edited in change.versions.items():
        row = found.get(task_id, {})
        facts = EditFacts(
            position=positions.get(task_id), attempts=row.get("attempts"), is_as_read=row.get("is_as_read", False)
        )
        outcomes.append(outcome_of_edit(edited, change.rule(task_id, facts)))
    guards = guards_of(outcomes, positions)
    outcomes = without_duplicates(outcomes, await lock_duplicates(connection, guards))
    await _write(connection, outcomes, now_ms)
    await _replace_guards(connection, outcomes, guards)
    return outcomes


async def _replace_guards(connection: Connection, outcomes: list[Outcome], guards: Mapping[str, Guard]) -> None:
    """Let later tasks be compared with the new versions, and no longer with the old ones."""
    for edited in [outcome.edited for outcome in outcomes if outcome.edited is not None]:
        guard = guards.get(edited.task_id)
        if guard is not None:
            await connection.run("forget_recent_post", digest=edited.former_digest, task_id=guard.chain_id)
            await keep_guards(connection, {edited.task_id: guard})


async def _write(connection: Connection, outcomes: list[Outcome], now_ms: int) -> None:
    versions = [outcome.edited for outcome in outcomes if outcome.edited is not None]
    if versions:
        text = json_text([edited_row(edited, now_ms) for edited in versions])
        await connection.run("edit_tasks", rows=text)
        await connection.run("keep_edits", rows=text)
        await connection.run("forget_former_uses", task_ids=[edited.task_id for edited in versions])
        await use_files(connection, versions)
