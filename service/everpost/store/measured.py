"""A store for the bench: it is filled faster than by running tasks, and its tasks are counted.

All of this blocks, and uses separate connections beside the measured processes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

Say = Callable[[str], None]


class Recorded(msgspec.Struct, frozen=True):
    """The history's records of some tasks: the number of rows, of tasks, and of all attempts."""

    rows: int
    tasks: int
    attempts: int


class Counters(msgspec.Struct, frozen=True):
    """What a server has counted: transactions that wrote, flushes of its log to the disk, bytes of that log."""

    writes: int
    fsyncs: int
    wal_bytes: int


class Look(Protocol):
    """A look at the store, which sees what was committed when a question is asked."""

    def count_ended(self, platform: str, status: str) -> int:
        """How many tasks of a platform the history has with a status. It is cheap, however many there are."""

    def count_waiting(self, platform: str) -> int:
        """How many tasks of a platform the ledger has. It is cheap, however many there are."""

    def count_queued(self, task_ids: Sequence[str]) -> int:
        """How many of these tasks the ledger has."""

    def recorded(self, task_ids: Sequence[str], status: str) -> Recorded:
        """The history's records of these tasks with this status."""

    def is_recorded(self, task_id: str) -> bool:
        """Whether the task has ended."""

    def first_attempts(self, task_ids: Sequence[str]) -> list[tuple[str, str]]:
        """When the first attempt of each of these ended tasks began and ended, as UTC text."""

    def has_relayed(self) -> bool:
        """Whether a worker's relay has looked in Redis for every task of the ledger."""

    def retries_of(self, batch_id: str) -> tuple[int, int]:
        """How many tasks the waiting tasks of a batch retry, and how many waiting tasks the batch has."""

    def is_done(self, operation_id: str) -> bool:
        """Whether an operation in the background has ended."""

    def count_lock_waits(self) -> int:
        """How many connections to the store wait for a lock that another one has; 0 if the store cannot tell."""

    def counters(self) -> Counters | None:
        """What the server has counted for all its databases; None if there is no server.

        Its processes add what they did when they have been idle for 10 s.
        """


class MeasuredStore(Protocol):
    """A store that is filled and measured.

    Attributes:
        name: The kind of store, such as `sqlite`.
        version: The version of the library or server.
    """

    name: str
    version: str

    def server_pid(self) -> int | None:
        """The process of the store's server, whose child processes belong to it; None if it has none on this host."""

    def fill_history(self, rows: int, say: Say) -> None:
        """Make the store with this many ended tasks, one in ten of them failed; none is in the full-text index.

        Args:
            say: Called with the progress.
        """

    def fill_ledger(self, rows: int, data: bytes, priority: int) -> list[str]:
        """Add so many waiting tasks to an empty ledger, all with the same data; their ids."""

    def add_failed(self, count: int, data: bytes, ended_ms: int) -> list[str]:
        """Add so many failed tasks to the history while it is in use, all with the same data; their ids."""

    def leave_nothing_to_do(self) -> None:
        """Remove work that the last measurement left for workers: waiting tasks, and texts for the index."""

    def look(self) -> AbstractContextManager[Look]:
        """A look at the store, which is there already."""
