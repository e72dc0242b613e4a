"""The store: accepts, keeps, moves and finds tasks. There is one protocol per noun; `open_store` opens an address.

Only a store's own package knows its SQL, its tables and its driver. The rules of decisions are pure functions in
`everpost.task`. The caller passes a rule in, and the store calls it with the facts, inside the transaction that carries
out the answer.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Protocol

from everpost.clock import Clock
from everpost.database_address import is_postgresql, postgresql_address, sqlite_path
from everpost.errors import SettingsError
from everpost.redaction import USUALLY, Redactor
from everpost.store.accounts import Accounts
from everpost.store.archive import Archive
from everpost.store.audit import Audit
from everpost.store.batches import Batches
from everpost.store.care import Care
from everpost.store.changes import Changes
from everpost.store.failures import FailuresStore
from everpost.store.files import Files
from everpost.store.held import Held
from everpost.store.history import History
from everpost.store.keys import Keys
from everpost.store.ledger import Ledger
from everpost.store.limits import Limits
from everpost.store.meta import MOVE, Meta
from everpost.store.operations import Operations
from everpost.store.recurring import Recurring
from everpost.store.relay import Relay
from everpost.store.timeline import Timeline
from everpost.store.traces import Traces

if TYPE_CHECKING:  # commands use these; API and workers need not load them
    from everpost.store.maintenance import Maintenance
    from everpost.store.measured import MeasuredStore
    from everpost.store.shown import ShownStore


class Store(Protocol):
    """An open store, with one attribute per noun."""

    @property
    def ledger(self) -> Ledger:
        """Unfinished tasks, and how they end."""

    @property
    def files(self) -> Files:
        """Records of media files, and uploads."""

    @property
    def history(self) -> History:
        """Tasks found by id, listed and counted."""

    @property
    def relay(self) -> Relay:
        """The ledger for the relay, which compares it with Redis."""

    @property
    def meta(self) -> Meta:
        """Values that all processes share."""

    @property
    def care(self) -> Care:
        """Whether the store can be written, and its upkeep."""

    @property
    def archive(self) -> Archive:
        """Ended tasks that were archived."""

    @property
    def held(self) -> Held:
        """The tasks that a restore holds."""

    @property
    def changes(self) -> Changes:
        """People's changes to tasks: retry, cancel, remove, resolve."""

    @property
    def operations(self) -> Operations:
        """Bulk work in the background."""

    @property
    def limits(self) -> Limits:
        """Limits and holds of platforms and accounts."""

    @property
    def accounts(self) -> Accounts:
        """Registered accounts."""

    @property
    def keys(self) -> Keys:
        """API keys, and sessions of the console."""

    @property
    def audit(self) -> Audit:
        """Who did what."""

    @property
    def batches(self) -> Batches:
        """Tasks that were accepted together, such as fan-outs."""

    @property
    def recurring(self) -> Recurring:
        """Posts that are made again and again."""

    @property
    def failures(self) -> FailuresStore:
        """Failed tasks, grouped by the cause of their errors."""

    @property
    def timeline(self) -> Timeline:
        """What ended in each minute."""

    @property
    def traces(self) -> Traces:
        """The trace contexts of tasks."""

    async def close(self) -> None:
        """Write what was accepted, then close everything. No other call may follow."""


async def open_store(
    address: str,
    *,
    zone: tzinfo = UTC,
    clock: Clock | None = None,
    replica_lag_s: float = 0.0,
    redactor: Redactor = USUALLY,
) -> Store:
    """Open the store of an address, and bring its content up to this version.

    Args:
        address: In the form of `EVERPOST_DATABASE`; see `everpost.database_address`.
        zone: The time zone of times without an offset, which rows of an original file have.
        clock: Used instead of the store's own, `Meta.now_ms`.
        replica_lag_s: By how many seconds a page may be old, so that a replica can answer it; 0 asks none.
        redactor: Searches for words do not find what it hides.

    Raises:
        SettingsError: No store has the address's scheme, or its driver is not installed.
        DatabaseUnusable: It is not a database, is damaged, belongs to a newer Everpost, or is moved elsewhere.
        DatabaseUnwritable: It cannot be written.
    """
    store = await _open(address, zone, clock, replica_lag_s, redactor)
    try:
        if (mark := await store.meta.get(MOVE)) is not None:
            from everpost.store.moving import check_open, read_mark  # noqa: PLC0415 - most stores are never moved

            check_open(read_mark(mark))
    except BaseException:
        await store.close()
        raise
    return store


async def _open(address: str, zone: tzinfo, clock: Clock | None, replica_lag_s: float, redactor: Redactor) -> Store:
    if is_postgresql(address):
        with _driver():
            from everpost.store.postgresql.store import PostgresqlStore  # noqa: PLC0415 - as below
        return await PostgresqlStore.open(
            postgresql_address(address), zone=zone, clock=clock, replica_lag_s=replica_lag_s, redactor=redactor
        )
    from everpost.store.sqlite.store import SqliteStore  # noqa: PLC0415 - only the store in use is imported

    return await SqliteStore.open(sqlite_path(address), zone=zone, redactor=redactor)


@contextmanager
def _driver() -> Iterator[None]:
    """Say what is missing if PostgreSQL's driver is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise SettingsError(
            "EVERPOST_DATABASE: PostgreSQL needs its driver, which is not installed: pip install 'everpost[postgresql]'"
        ) from error


def measured_store(address: str) -> "MeasuredStore":
    """The store at this address for the bench; it need not exist yet.

    Raises:
        SettingsError: No store has the address's scheme.
    """
    if is_postgresql(address):
        with _driver():
            from everpost.store.postgresql.measured import PostgresqlMeasured  # noqa: PLC0415 - as below
        return PostgresqlMeasured(address)
    from everpost.store.sqlite.measured import SqliteMeasured  # noqa: PLC0415 - only the bench needs it

    return SqliteMeasured(sqlite_path(address))


def scratch_store(server: str) -> AbstractContextManager[str]:
    """A new, empty store on the server of an address; it gives the store's own address, and removes it at the end.

    Raises:
        SettingsError: The address names no server.
        Unavailable: The server does not answer, or its user may not make databases.
    """
    if not is_postgresql(server):
        raise SettingsError("Only an address such as postgresql://user@host/postgres names a server.")
    with _driver():
        from everpost.store.postgresql.measured import scratch_database  # noqa: PLC0415 - only bench and demo need it
    return scratch_database(server)


def shown_store(address: str) -> "ShownStore":
    """The store at this address for the demonstration; it need not exist yet.

    Raises:
        SettingsError: No store has the address's scheme.
    """
    if is_postgresql(address):
        with _driver():
            from everpost.store.postgresql.shown import PostgresqlShown  # noqa: PLC0415 - as below
        return PostgresqlShown(address)
    from everpost.store.sqlite.shown import SqliteShown  # noqa: PLC0415 - only the demonstration needs it

    return SqliteShown(sqlite_path(address))


def maintenance_of(address: str) -> "Maintenance":
    """The maintenance of the store that an address names.

    Raises:
        SettingsError: No store has the address's scheme.
    """
    if is_postgresql(address):
        with _driver():
            from everpost.store.postgresql.maintenance import PostgresqlMaintenance  # noqa: PLC0415 - as below
        return PostgresqlMaintenance(postgresql_address(address))
    from everpost.store.sqlite.maintenance import SqliteMaintenance  # noqa: PLC0415 - only the store in use is imported

    return SqliteMaintenance(sqlite_path(address))
