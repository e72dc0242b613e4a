"""Retries: the tasks as they are under the file's lock, and the new ledger rows (I5)."""

from collections.abc import Sequence

from everpost.errors import DuplicatePost, ServiceError, UnknownFile
from everpost.store.changes import Outcome, Retry, undecided_among
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.media.uses import find_missing
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import accept_tasks
from everpost.store.sqlite.tasks.candidates import find_candidates
from everpost.store.sqlite.tasks.duplicates import duplicates_among, keep_guards
from everpost.store.sqlite.tasks.ends import end_tasks
from everpost.store.sqlite.tasks.resolve import replace_unknown
from everpost.store.successions import (
    decide_retries,
    decisions_of,
    guards_of,
    replaced_in_history,
    replaced_in_ledger,
    with_decisions,
    without_refused,
)
from everpost.task.candidate import LARGEST_LOCKED
from everpost.task.edits import PATH as EDIT_PATH
from everpost.task.resolution_rules import Decided
from everpost.task.retry_rules import Succession


def retry_tasks(connection: sqlite3.Connection, change: Retry, now_ms: int) -> list[Outcome]:
    """See `everpost.store.changes.Retry`."""
    outcomes: dict[int, Outcome] = {}
    while left := {number: task_id for number, task_id in enumerate(change.task_ids) if number not in outcomes}:
        candidates = find_candidates(connection, list(left.values()), most_bytes=LARGEST_LOCKED)
        decided, successions = decide_retries(change, dict(zip(left, candidates, strict=True)))
        if undecided_among(decided.values()):
            return list(decided.values())
        checked = [one for one in successions if one.is_edited or one.guard is not None]
        if checked:
            decided, successions = without_refused(decided, successions, _find_refusals(connection, checked))
        outcomes |= with_decisions(decided, _write(connection, change, successions, now_ms))
        if checked:
            keep_guards(connection, guards_of(successions))
    return [outcomes[number] for number in range(len(change.task_ids))]


def _find_refusals(connection: sqlite3.Connection, successions: Sequence[Succession]) -> dict[str, ServiceError]:
    """The new tasks that must not be written: duplicates, and edited ones whose files are not there."""
    missing = [(one.task.task_id, find_missing(connection, [one.task])) for one in successions if one.is_edited]
    refusals: dict[str, ServiceError] = {
        task_id: UnknownFile(key, EDIT_PATH) for task_id, key in missing if key is not None
    }
    guards = {task_id: guard for task_id, guard in guards_of(successions).items() if task_id not in refusals}
    duplicates = duplicates_among(connection, guards) if guards else {}
    return refusals | {task_id: DuplicatePost(earlier) for task_id, earlier in duplicates.items()}


def _write(
    connection: sqlite3.Connection, change: Retry, successions: Sequence[Succession], now_ms: int
) -> list[Decided]:
    """Write the new tasks; return the decisions that were kept with them."""
    if replaced := replaced_in_ledger(successions):
        end_tasks(connection, replaced)
    for task_id, message in replaced_in_history(successions).items():
        connection.execute(load("replace_waiting"), {"task_id": task_id, "message": message})
    accept_tasks(connection, [one.task for one in successions], now_ms)
    decided = decisions_of(successions, change, now_ms)
    replace_unknown(connection, decided)
    return decided
