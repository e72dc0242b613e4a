"""Decides whether a task may go to the archive: a pure function from the store's facts."""

from enum import StrEnum

from everpost.task.place import Place, Position


class Removal(StrEnum):
    """The result of removing one task."""

    ARCHIVED = "archived"
    NOT_FOUND = "task_not_found"
    UNFINISHED = "task_unfinished"  # it must be cancelled first; by I1 no task may vanish
    ARCHIVED_BEFORE = "task_archived"


def decide_removal(position: Position | None) -> Removal:
    """Whether a task may go to the archive: only ended tasks, and inherited rows, which never run."""
    if position is None:
        return Removal.NOT_FOUND
    if position.place is Place.ARCHIVE:
        return Removal.ARCHIVED_BEFORE
    if position.place is Place.LEDGER and not position.inherited:
        return Removal.UNFINISHED
    return Removal.ARCHIVED
