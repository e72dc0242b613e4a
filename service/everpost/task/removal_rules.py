"""Decides whether a task may go to the archive: pure functions from the store's facts."""

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum

from everpost.task.model import TaskStatus
from everpost.task.place import Place, Position


class Removal(StrEnum):
    """The result of removing one task."""

    ARCHIVED = "archived"
    NOT_FOUND = "task_not_found"
    UNFINISHED = "task_unfinished"  # it must be cancelled first; by I1 no task may vanish
    ARCHIVED_BEFORE = "task_archived"
    NOT_SUCCEEDED = "task_not_succeeded"  # of archiving by age only


def decide_removal(position: Position | None) -> Removal:
    """Whether a task may go to the archive: only ended tasks, and inherited rows, which never run."""
    if position is None:
        return Removal.NOT_FOUND
    if position.place is Place.ARCHIVE:
        return Removal.ARCHIVED_BEFORE
    if position.place is Place.LEDGER and not position.inherited:
        return Removal.UNFINISHED
    return Removal.ARCHIVED


def decide_archiving(position: Position | None) -> Removal:
    """Whether a row may go to the archive because of its age: only successes of the history."""
    removal = decide_removal(position)
    is_success = position is not None and position.place is Place.HISTORY and position.status == TaskStatus.SUCCESS
    return Removal.NOT_SUCCEEDED if removal is Removal.ARCHIVED and not is_success else removal


def decide_on_rows(
    rows: Sequence[Position], task_ids: Collection[str], rule: Callable[[Position | None], Removal]
) -> tuple[dict[str, Removal], list[bool]]:
    """The decision about each task, and for each row whether it goes to the archive.

    A task can have several rows, in a file of the original. It is archived if one of them goes. None goes while one is
    unfinished (I1).
    """
    answers: dict[str, list[Removal]] = {task_id: [] for task_id in task_ids}
    for row in rows:
        answers[row.task_id].append(rule(row))
    removals = {task_id: _of_task(found) if found else rule(None) for task_id, found in answers.items()}
    return removals, [Removal.ARCHIVED is removals[row.task_id] is rule(row) for row in rows]


def _of_task(answers: Sequence[Removal]) -> Removal:
    decisive = (Removal.UNFINISHED, Removal.ARCHIVED)
    return next((removal for removal in decisive if removal in answers), answers[-1])
