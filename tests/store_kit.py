"""Looks into a store past its port, for tests: every task in every place, and changes by another program.

Each kind of store has its own kit, beside that store's tests.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from everpost.database_address import is_postgresql, sqlite_path
from everpost.settings import Settings
from everpost.task.place import Place


class StoredTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as one place has it. Times are text as stored.

    Attributes:
        data: Its decoded JSON; None if it has no data.
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


def stored_task(row: Sequence[Any]) -> StoredTask:
    """The task of a row: the number of its place, something to sort by, and then what `StoredTask` has."""
    source, _, task_id, status, data, title, error_class, retry_of, root_id, inherited, created_at, completed_at = row
    return StoredTask(
        task_id=task_id,
        place=(Place.LEDGER, Place.HISTORY, Place.ARCHIVE)[source],
        status=status,
        data=_decoded(data),
        title=title,
        error_class=error_class,
        retry_of=retry_of,
        chain_id=root_id or task_id,
        inherited=bool(inherited),
        created_at=created_at,
        completed_at=completed_at,
    )


def _decoded(data: Any) -> Any:
    """The JSON's value, or the column's where it is no JSON."""
    try:
        return None if data is None else msgspec.json.decode(data)
    except msgspec.DecodeError:
        return data


class StoreKit(Protocol):
    """What tests can do with every kind of store. Columns have the names in `schema.sql`."""

    def tasks(self) -> list[StoredTask]:
        """Every row of the three places, the ledger's first, in the order of writing."""

    def get_meta(self, key: str) -> str | None:
        """The value Everpost keeps under this name; None if it keeps no such value."""

    def columns(self, place: Place, task_id: str, *names: str) -> tuple[Any, ...]:
        """The values of these columns of a task, as stored."""

    def count(self, *places: Place) -> int:
        """How many rows these places have, or all."""

    def oldest_waiting(self) -> str | None:
        """When the oldest task of the ledger without a set time was accepted."""

    def count_operations(self) -> int:
        """How many bulk operations are kept."""

    def count_skips(self) -> int:
        """How many skipped tasks of bulk operations are kept."""

    def count_keys(self) -> int:
        """How many Idempotency-Keys are kept."""

    def batches(self) -> list[str]:
        """The ids of the kept batches, sorted."""

    def forget_items(self) -> None:
        """Leave batches as the version before wrote those that are no fan-outs: without their tasks."""

    def everything(self) -> bytes:
        """What the store has on the disk: its files, or all rows of all tables as text."""

    def tables(self) -> dict[str, set[str]]:
        """The columns of every table, but not of those that are parts of others."""

    def counted(self) -> dict[Place, int]:
        """How many tasks the ledger and the history have according to the store's counts; empty places are left out."""

    def find_faults(self) -> list[str]:
        """The faults the store finds in its own data."""

    def find_chains_twice_alive(self) -> list[str]:
        """The chains with more than one task in the ledger (I5)."""

    def add(self, place: Place, *rows: Mapping[str, Any]) -> None:
        """Add rows as another program may have written them; `task_id` and `data` name these columns in every place."""

    def change(self, place: Place, task_id: str | None = None, **columns: Any) -> None:
        """Change columns of one task, or of all tasks in this place."""

    def miscount(self) -> None:
        """Make the store's counts higher than the number of tasks."""

    def rewrite_audit(self) -> None:
        """Change all entries of the audit, as another program does. Raises the database's error."""

    def empty_audit(self) -> None:
        """Remove all entries of the audit, as another program does. Raises the database's error."""

    def hide_ledger(self) -> None:
        """Break the store as only a defect can: rename the ledger's table to `hidden`."""

    def spoil_title(self, place: Place, task_id: str) -> None:
        """Replace a title by text that is not UTF-8, if the store can hold such text."""

    def remove(self, place: Place, task_id: str) -> None:
        """Delete a task."""

    def locked(self) -> AbstractContextManager[None]:
        """While it lasts, no other process or connection can write."""

    def activity(self) -> str:
        """What the store's server is busy with, a line for each connection; empty if there is no server."""


def kit_of(database: Settings | str | Path) -> StoreKit:
    """The kit of the store at this address, or at these settings' address. The store must exist."""
    address = database.database_address if isinstance(database, Settings) else str(database)
    if is_postgresql(address):
        from postgresql.kit import PostgresqlKit  # noqa: PLC0415 - only the requested kit is loaded

        return PostgresqlKit(address)
    from sqlite.kit import SqliteKit  # noqa: PLC0415 - only the requested kit is loaded

    return SqliteKit(sqlite_path(address))
