"""The commands' work on a store that is not open, or not up to date; see `everpost.store.maintenance_of`."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from everpost.findings import Finding
from everpost.store.moving import MovedStore
from everpost.store.pause import Pause

if TYPE_CHECKING:
    from everpost.store import Store

Progress = Callable[[int, int], None]
"""Called from time to time with the rows that are done, and all rows."""


class Backup(msgspec.Struct, frozen=True):
    """A finished copy."""

    path: Path
    size_bytes: int


class Compacted(msgspec.Struct, frozen=True):
    """The sizes before and after."""

    before_bytes: int
    after_bytes: int


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did, in rows.

    Attributes:
        read: Rows of the source.
        added: Rows that are new here.
        present: Rows whose task was here already: in the ledger, complete in the history, or archived.
        without_id: Rows without an id, which no retry could name. They are left out.
        took_s: Seconds.
    """

    read: int = 0
    added: int = 0
    present: int = 0
    without_id: int = 0
    took_s: float = 0.0


class Depth(StrEnum):
    """How much of a store an inspection reads."""

    FAST = "fast"  # what takes the same time for any number of tasks
    QUICK = "quick"  # every task, about a second a gigabyte or more
    THOROUGH = "thorough"  # every index too


class OldestDue(msgspec.Struct, frozen=True):
    """The unfinished task that was accepted first, of those that are due. `created_at` is UTC text."""

    task_id: str
    status: str
    created_at: str


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks in a store.

    Attributes:
        statuses: Tasks by status, without the archive.
        unreadable: Tasks that ended because nothing could be read of them, or because they could not be run.
        published_twice: Tasks that were sent again although the platform had accepted them; a late result showed it.
        wrong_counts: How many of the kept counts differ from the tasks there are; None if they were not compared.
        in_two_places: The ids that break I1; None if they were not looked for.
    """

    statuses: dict[str, int]
    oldest_due: OldestDue | None
    unreadable: int
    published_twice: int
    wrong_counts: int | None
    in_two_places: list[str] | None
    pause: Pause | None


class Inspection(msgspec.Struct, frozen=True):
    """What an inspection found: facts about the store itself, and its tasks; None if it is not up to date."""

    findings: Sequence[Finding]
    contents: Contents | None


class Maintenance(Protocol):
    """The care of one store by its address. Methods that are not coroutines block."""

    @property
    def name(self) -> str:
        """How messages name the store. It holds no password."""

    def exists(self) -> bool:
        """Whether there is a store; its version does not matter."""

    def back_up(self, target: Path) -> Backup:
        """Copy the store to the new file `target`, as it is at one moment, while others write.

        The copy is read back and flushed before it gets its name. A crash leaves nothing under that name.

        Raises:
            DatabaseUnusable: There is no store, `target` exists already, or the copy is damaged.
            DatabaseUnwritable: The target cannot be written, or its disk is full.
        """

    def restore(self, backup: Path, now_ms: int) -> Pause:
        """Put a copy of `backup` in the store's place, with dispatch paused; the pause.

        The store that was there is kept. Nothing is changed until the copy is whole, checked, prepared and on the disk.
        Then it takes its place at once. Tasks that were being sent are unknown, unfinished tasks that could have run
        are held, and bulk work is given up; see `everpost.task.restore_rules`.

        Raises:
            DatabaseUnusable: A process has the store open, or the backup is missing, damaged or not Everpost's.
            DatabaseUnwritable: There is no room for it, or no permission.
        """

    def import_queue(self, source: Path, progress: Progress | None = None) -> ImportReport:
        """Copy the `task_queue` of an original system's file into the store, which is made or brought up to date first.

        The tasks are inherited: they run only if they are retried. The source is only read. Tasks that are here already
        stay as they are, so it can be repeated.

        Raises:
            DatabaseUnusable: There is no such source, it is not a database, or it has no `task_queue`.
            DatabaseUnwritable: The store cannot be written.
            DatabaseBusy: Another process kept it locked.
        """

    def compact(self) -> Compacted:
        """Return all free space to the file system, for stores that cannot do so while Everpost serves.

        Raises:
            DatabaseUnusable: A process has the store open, or it is missing, damaged or not Everpost's.
            DatabaseUnwritable: There is no room for a copy.
        """

    async def open_current(self) -> "Store | None":
        """The open store; None if no database exists yet, or if opening it would bring it up to date.

        Raises:
            DatabaseUnusable: It is damaged, or not Everpost's.
            DatabaseUnwritable: It cannot be read.
        """

    async def open_moved(self) -> MovedStore:
        """The store as one end of a move; it is made or brought up to date first. It must be closed again.

        Raises:
            DatabaseUnusable: Another process has it open, or it is damaged or not Everpost's.
            DatabaseUnwritable: It cannot be written.
        """

    async def inspect(self, depth: Depth, now_ms: int, least_free_bytes: int) -> Inspection:
        """Examine the store, and change nothing. What is wrong with it is a finding, not an error.

        Args:
            least_free_bytes: The free space of the disk below which no task is accepted.
        """
