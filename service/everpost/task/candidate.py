"""A task that a caller wants changed, as a store has it."""

from collections.abc import Sequence

import msgspec

from everpost.task.place import Place, Position

LARGEST_LOCKED = 65_536  # bytes of a task's data; a store reads no larger data while it holds the lock of a change


class StoredData(msgspec.Struct, frozen=True, kw_only=True):
    """A task's data as a store has it.

    Attributes:
        place: Where it was found.
        task_data: The client's JSON object; empty if there is a `raw_job`.
        is_rebuilt: It was put together from single columns, because the whole is absent or damaged.
        raw_job: The message of a stock arq client, if no task data could be taken from it when it came.
    """

    place: Place
    task_data: bytes
    priority: int
    is_rebuilt: bool = False
    raw_job: bytes | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a caller wants changed.

    Attributes:
        position: None if the store does not have the task.
        size_bytes: The size of its data as stored; 0 if it has no data.
        relatives: The other tasks of its retry chain, and if the store does not have the task, its retries. If the task
            has ended, rows with the same id are among them: files of the original may have several.
        data: None if the store has neither the data nor the columns to rebuild it from, or did not
            read it because it is large.
    """

    task_id: str
    position: Position | None = None
    size_bytes: int = 0
    relatives: Sequence[Position] = ()
    data: StoredData | None = None

    @property
    def is_whole(self) -> bool:
        """Whether no other place could have better data."""
        return self.data is not None and not self.data.is_rebuilt

    @property
    def chain_id(self) -> str:
        """The id of its retry chain."""
        return self.task_id if self.position is None else self.position.chain_id
