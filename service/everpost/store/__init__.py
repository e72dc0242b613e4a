"""The store: what accepts, keeps, moves and finds tasks. One protocol a noun; `open_store` opens what an address names.

Nothing outside of a store's own package knows its SQL, its tables or its driver. The rules of a decision are pure
functions of `everpost.task`; the caller hands one in, and the store calls it with the facts, inside the transaction
that carries out the answer.
"""

from datetime import UTC, tzinfo
from typing import Protocol

from everpost.clock import Clock, system_clock
from everpost.database_address import sqlite_path
from everpost.store.archive import Archive
from everpost.store.care import Care
from everpost.store.changes import Changes
from everpost.store.history import History
from everpost.store.ledger import Ledger
from everpost.store.maintenance import Maintenance
from everpost.store.measured import MeasuredStore
from everpost.store.meta import Meta
from everpost.store.operations import Operations
from everpost.store.pause import Pauses
from everpost.store.relay import Relay
from everpost.store.shown import ShownStore


class Store(Protocol):
    """An open store: one attribute a noun."""

    @property
    def ledger(self) -> Ledger:
        """Tasks that have not ended, and how they end."""

    @property
    def history(self) -> History:
        """Tasks found by id, listed and counted."""

    @property
    def relay(self) -> Relay:
        """The ledger, walked through and compared with Redis."""

    @property
    def meta(self) -> Meta:
        """What the processes remember together."""

    @property
    def care(self) -> Care:
        """Whether it can be written, and what keeps it in order."""

    @property
    def archive(self) -> Archive:
        """Ended tasks that were put away."""

    @property
    def pause(self) -> Pauses:
        """Dispatch on hold after a restore."""

    @property
    def changes(self) -> Changes:
        """What people do to tasks: retry, cancel, remove, resolve."""

    @property
    def operations(self) -> Operations:
        """Bulk work behind answers."""

    async def close(self) -> None:
        """Write what was accepted, then let go of everything. Nothing may be asked any more."""


async def open_store(address: str, *, zone: tzinfo = UTC, clock: Clock = system_clock) -> Store:
    """Open the store an address names, and bring what it holds up to this version.

    Args:
        address: As `EVERPOST_DATABASE` has it; see `everpost.database_address`.
        zone: How times without an offset are read, which rows of an original file have.

    Raises:
        SettingsError: No store has the address's scheme.
        DatabaseUnusable: It is no database, is damaged, or belongs to a newer Everpost.
        DatabaseUnwritable: It cannot be written.
    """
    from everpost.store.sqlite.store import SqliteStore  # noqa: PLC0415 - only the store in use is imported

    return await SqliteStore.open(sqlite_path(address), zone=zone, clock=clock)


def measured_store(address: str) -> MeasuredStore:
    """The store at this address as the bench uses it; it need not be there yet.

    Raises:
        SettingsError: No store has the address's scheme.
    """
    from everpost.store.sqlite.measured import SqliteMeasured  # noqa: PLC0415 - only the bench needs it

    return SqliteMeasured(sqlite_path(address))


def shown_store(address: str) -> ShownStore:
    """The store at this address as the demonstration shows it; it need not be there yet.

    Raises:
        SettingsError: No store has the address's scheme.
    """
    from everpost.store.sqlite.shown import SqliteShown  # noqa: PLC0415 - only the demonstration needs it

    return SqliteShown(sqlite_path(address))


def maintenance_of(address: str) -> Maintenance:
    """The maintenance of the store that an address names.

    Raises:
        SettingsError: No store has the address's scheme.
    """
    from everpost.store.sqlite.care.maintenance import SqliteMaintenance  # noqa: PLC0415 - only the store in use is imported

    return SqliteMaintenance(sqlite_path(address))
