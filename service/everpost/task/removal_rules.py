"""May this task go to the archive? A pure function from what the store says."""

from enum import StrEnum

from everpost.task.place import Place, Position


class Removal(StrEnum):
    """What became of one task that was to go to the archive."""

    ARCHIVED = "archived"
    NOT_FOUND = "task_not_found"
    UNFINISHED = "task_unfinished"  # cancel it first; I1 lets no task vanish
    ARCHIVED_BEFORE = "task_archived"


def decide_removal(position: Position | None) -> Removal:
    """Whether a task may go to the archive: ended ones, and rows of an original file that nobody runs."""
    if position is None:
        return Removal.NOT_FOUND
    if position.place is Place.ARCHIVE:
        return Removal.ARCHIVED_BEFORE
    if position.place is Place.LEDGER and not position.inherited:
        return Removal.UNFINISHED
    return Removal.ARCHIVED
