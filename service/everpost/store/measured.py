"""A store under measurement, for the bench: it is filled faster than tasks can be run, and its tasks are counted.

Everything here blocks, and uses connections of its own beside the processes that are measured.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

Say = Callable[[str], None]


class Recorded(msgspec.Struct, frozen=True):
    """What the history has of some tasks: its rows, the tasks they are of, and the attempts of all of them."""

    rows: int
    tasks: int
    attempts: int


class Look(Protocol):
    """A look at the store, which sees what was committed when a question is asked."""

    def count_ended(self, platform: str, status: str) -> int:
        """How many tasks of a platform the history has with a status. It is cheap, however many there are."""

    def count_waiting(self, platform: str) -> int:
        """How many tasks of a platform the ledger has. It is cheap, however many there are."""

    def count_queued(self, task_ids: Sequence[str]) -> int:
        """How many of these tasks the ledger has."""

    def recorded(self, task_ids: Sequence[str], status: str) -> Recorded:
        """What the history has of these tasks with this status."""

    def is_recorded(self, task_id: str) -> bool:
        """Whether the task has ended."""

    def first_attempts(self, task_ids: Sequence[str]) -> list[tuple[str, str]]:
        """When the first attempt of each of these ended tasks began and ended, as UTC text."""

    def has_relayed(self) -> bool:
        """Whether a worker's relay has looked for every task of the ledger in Redis."""

    def retries_of(self, batch_id: str) -> tuple[int, int]:
        """How many tasks the waiting tasks of a batch retry, and how many waiting tasks the batch has."""

    def is_done(self, operation_id: str) -> bool:
        """Whether bulk work behind an answer has come to its end."""


class MeasuredStore(Protocol):
    """A store that is filled and measured.

    Attributes:
        name: What it is, such as `sqlite`.
        version: Of the library or server.
    """

    name: str
    version: str

    def fill_history(self, rows: int, say: Say) -> None:
        """Make the store, with so many ended tasks, one in ten of them failed; none is in the index of texts.

        Args:
            say: Told how far it has come.
        """

    def fill_ledger(self, rows: int, data: bytes, priority: int) -> list[str]:
        """Add so many waiting tasks to an empty ledger, all with the same data; their ids."""

    def add_failed(self, count: int, data: bytes, ended_ms: int) -> list[str]:
        """Add so many failed tasks to the history while it is in use, all with the same data; their ids."""

    def leave_nothing_to_do(self) -> None:
        """Remove what the last measurement left to workers: waiting tasks, and texts to put into the index."""

    def look(self) -> AbstractContextManager[Look]:
        """A look at the store, which is there already."""
