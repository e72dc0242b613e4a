"""Retries: the chains are locked, and the new ledger rows written (I5)."""

from collections.abc import Sequence

import msgspec

from everpost.errors import DuplicatePost, ServiceError, UnknownFile
from everpost.store.audit import entry_of_retries
from everpost.store.changes import Outcome, Retry, undecided_among
from everpost.store.files import UnknownFileError
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.media.uses import check_files, use_files
from everpost.store.postgresql.tasks.audit_entries import entry_values
from everpost.store.postgresql.tasks.candidates import lock_candidates
from everpost.store.postgresql.tasks.duplicates import keep_guards, lock_duplicates
from everpost.store.postgresql.tasks.ends import end_tasks, lock_batches
from everpost.store.postgresql.tasks.resolve import replace_unknown
from everpost.store.postgresql.tasks.typed_rows import accepted_values
from everpost.store.successions import (
    decide_retries,
    decisions_of,
    guards_of,
    replaced_in_history,
    replaced_in_ledger,
    with_decisions,
    without_refused,
)
from everpost.task.edits import PATH as EDIT_PATH
from everpost.task.resolution_rules import Decided
from everpost.task.retry_rules import Succession


async def retry_tasks(connection: Connection, change: Retry, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Retry`. The entry is kept with the first new tasks."""
    outcomes: dict[int, Outcome] = {}
    while left := {number: task_id for number, task_id in enumerate(change.task_ids) if number not in outcomes}:
        candidates = await lock_candidates(connection, list(left.values()))
        decided, successions = decide_retries(change, dict(zip(left, candidates, strict=True)))
        if undecided_among(decided.values()):
            return list(decided.values())
        checked = [one for one in successions if one.is_edited or one.guard is not None]
        if checked:
            decided, successions = without_refused(decided, successions, await _find_refusals(connection, checked))
        outcomes |= with_decisions(decided, await _write(connection, change, successions, now_ms))
        if checked:
            await keep_guards(connection, guards_of(successions))
        if successions:
            change = msgspec.structs.replace(change, entry=None)
    return [outcomes[number] for number in range(len(change.task_ids))]


async def _find_refusals(connection: Connection, successions: Sequence[Succession]) -> dict[str, ServiceError]:
    """The new tasks that must not be written: duplicates, and edited ones whose files are not there."""
    refusals: dict[str, ServiceError] = {}
    for task in [one.task for one in successions if one.is_edited and one.task.file_ids]:
        try:
            await check_files(connection, [task])
        except UnknownFileError as error:
            refusals[task.task_id] = UnknownFile(error.file_id, EDIT_PATH)
    guards = {task_id: guard for task_id, guard in guards_of(successions).items() if task_id not in refusals}
    duplicates = await lock_duplicates(connection, guards)
    return refusals | {task_id: DuplicatePost(earlier) for task_id, earlier in duplicates.items()}


async def _write(
    connection: Connection, change: Retry, successions: Sequence[Succession], now_ms: int
) -> list[Decided]:
    """Write the new tasks; the decisions that were kept with them."""
    replaced = replaced_in_ledger(successions)
    await lock_batches(connection, replaced, [one.task for one in successions])
    await end_tasks(connection, replaced)
    messages = replaced_in_history(successions)
    if messages:
        await connection.run("replace_waiting", task_ids=list(messages), messages=list(messages.values()))
    if successions:
        tasks = [one.task for one in successions]
        rows = accepted_values(tasks, now_ms)
        if change.entry is None:
            await connection.write_rows("accept_tasks", rows)
        else:
            await connection.write_rows("accept_noted", rows, **entry_values(entry_of_retries(change.entry, tasks)))
        await use_files(connection, tasks)
    decided = decisions_of(successions, change, now_ms)
    await replace_unknown(connection, decided)
    return decided
