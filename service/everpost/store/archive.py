"""The port's noun `archive`: old and deleted tasks, and the only way to destroy tasks."""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Protocol

from everpost.pace import Pace

MOST_BYTES = 16 << 20  # of data, archived in one transaction: other writers wait meanwhile
COUNTING_S = 60.0  # for counting tasks that no client waits for


class Reason(StrEnum):
    """Why a task is in the archive."""

    AGE = "age"
    DELETED = "deleted"


class Archive(Protocol):
    """Finds tasks to archive, and destroys archived ones.

    Long work goes in steps, each in one transaction, so it can be begun again after a crash. A step has as many tasks
    as the pace allows. Between two steps, the pace lets other writers go first.
    """

    async def archive_whole(self, before_ms: int, now_ms: int) -> int:
        """Archive many of the tasks of `page_older` in one step that moves none of them; how many.

        0 if the store has no such step for the tasks that are left. It may be called again until then.
        """

    async def page_older(self, before_ms: int, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """The ids of the next successes of the history that ended before `before_ms`, and the next page's cursor.

        The earliest come first. A task whose end has a time without an offset, as in an original file, comes up to a
        day later.

        Args:
            cursor: None is the beginning. The returned cursor is None at the end. A cursor stays valid for ever.
            limit: The most tasks of a page. It has fewer, if they have more than `MOST_BYTES` of data together.
        """

    async def count_older(self, before_ms: int) -> int:
        """How many tasks all pages of `page_older` have.

        Raises:
            SearchTimeout: It took longer than `COUNTING_S`.
        """

    async def page_removed(self, operation_id: str, from_ms: int, until_ms: int, limit: int) -> list[str]:
        """The ids of tasks that an operation removed and nothing has brought back, at most `limit`.

        Those are left out that were not removed from `from_ms` to `until_ms`, both included, the last time.
        """

    def purge(self, before_ms: int, pace: Pace) -> AsyncIterator[int]:
        """Destroy all tasks archived before `before_ms`; yield how many each step destroyed. This cannot be undone.

        A task that ended later than that stays: it was archived while the clock was set back.

        With the last task of a batch's retry chains, the batch is destroyed; and with a task or a batch, the ended
        callbacks about it, which count as tasks.
        """

    async def count_archived(self, before_ms: int) -> int:
        """How many tasks `purge` would destroy.

        Raises:
            SearchTimeout: It took longer than `COUNTING_S`.
        """

    async def free_space(self) -> int:
        """The bytes on the disk that the store holds and does not use; 0 if it manages its space by itself."""

    def give_back_space(self, pace: Pace) -> AsyncIterator[int]:
        """Return free space to the file system; yield the bytes of each step. It may not be possible: then no step."""
