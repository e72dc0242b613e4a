"""A look into a store past its port, for tests: every task wherever it lies, and changes that another program makes.

Each kind of store has a kit of its own, beside the tests of that store.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from everpost.database_address import sqlite_path
from everpost.settings import Settings
from everpost.task.place import Place


class StoredTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as one place has it. Times are text as stored.

    Attributes:
        data: Its decoded JSON; None if there is none.
        chain_id: The first task of its retry chain.
        inherited: Whether it is a row of an original file that Everpost has not accepted.
    """

    task_id: str
    place: Place
    status: str
    data: Any
    title: str | None
    error_class: str | None
    retry_of: str | None
    chain_id: str
    inherited: bool
    created_at: str | None
    completed_at: str | None


class StoreKit(Protocol):
    """What every kind of store lets tests do. Columns have the names that `schema.sql` documents."""

    def tasks(self) -> list[StoredTask]:
        """Every row of the three places, the ledger's first, in the order in which they were written."""

    def get_meta(self, key: str) -> str | None:
        """What Everpost keeps under this name; None if it keeps nothing."""

    def columns(self, place: Place, task_id: str, *names: str) -> tuple[Any, ...]:
        """The values of these columns of a task, as stored."""

    def count(self, *places: Place) -> int:
        """How many rows these places have, or all."""

    def oldest_waiting(self) -> str | None:
        """When the oldest task of the ledger that is not due at a set time was accepted."""

    def count_operations(self) -> int:
        """How many bulk operations are kept."""

    def count_skips(self) -> int:
        """How many skipped tasks of bulk operations are kept."""

    def count_keys(self) -> int:
        """How many Idempotency-Keys are kept."""

    def counted(self) -> dict[Place, int]:
        """How many tasks the store says it has in the ledger and in the history; places without any are left out."""

    def find_faults(self) -> list[str]:
        """What the store finds wrong with its own data."""

    def find_chains_twice_alive(self) -> list[str]:
        """The chains of which more than one task is in the ledger (I5)."""

    def add(self, place: Place, *rows: Mapping[str, Any]) -> None:
        """Add rows as another program may have written them; `task_id` and `data` name these columns in every place."""

    def change(self, place: Place, task_id: str | None = None, **columns: Any) -> None:
        """Change columns of one task, or of all tasks in this place."""

    def miscount(self) -> None:
        """Have the store believe that it has more tasks than there are."""

    def hide_ledger(self) -> None:
        """Break the store as only a defect can: what it keeps the ledger in is called `hidden` now."""

    def spoil_title(self, place: Place, task_id: str) -> None:
        """Make a title of text that is not UTF-8, where the store can hold such text."""

    def remove(self, place: Place, task_id: str) -> None:
        """Delete a task."""

    def locked(self) -> AbstractContextManager[None]:
        """While it lasts, no other process or connection can write."""


def kit_of(database: Settings | str | Path) -> StoreKit:
    """The kit of the store at this address, or at the address in these settings. The store is there already."""
    from sqlite.kit import SqliteKit  # noqa: PLC0415 - only the kit that is asked for is loaded

    address = database.database_address if isinstance(database, Settings) else str(database)
    return SqliteKit(sqlite_path(address))
