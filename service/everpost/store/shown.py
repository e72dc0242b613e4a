"""A store for the demonstration: begun by the original system, and queried with the original system's own SQL.

All of this blocks, and uses separate connections beside the serving processes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

ORIGINAL_TASK = "3f0c9d52-6a41-4d3e-9d0a-2f6f0f7b1c11"


class ShownRows(msgspec.Struct, frozen=True):
    """A question in the store's own language, and its answer."""

    question: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class ShownStore(Protocol):
    """What a person sees who opens the database of a running Everpost."""

    def write_original(self) -> None:
        """Make the store as the original system left it: with one failed task, `ORIGINAL_TASK`, without task data."""

    def row(self, task_id: str) -> Mapping[str, Any]:
        """What the history keeps of a task, found by the id that the original system gave it."""

    def ask(self) -> Sequence[ShownRows]:
        """The ended tasks one by one, without those of the platform `bilibili`, and how many there are of each kind."""

    def find_faults(self) -> Sequence[str]:
        """What is wrong: tasks in two places, unfinished tasks, and what the store finds damaged."""
