"""The store on PostgreSQL: all nouns on one `Database`."""

from datetime import UTC, tzinfo
from typing import Self

from everpost.clock import Clock
from everpost.database_address import PostgresqlAddress
from everpost.redaction import USUALLY, Redactor
from everpost.store.postgresql.care.accounts import PostgresqlAccounts
from everpost.store.postgresql.care.archive import PostgresqlArchive
from everpost.store.postgresql.care.audit import PostgresqlAudit
from everpost.store.postgresql.care.care import PostgresqlCare
from everpost.store.postgresql.care.failures import PostgresqlFailures
from everpost.store.postgresql.care.held import PostgresqlHeld
from everpost.store.postgresql.care.keys import PostgresqlKeys
from everpost.store.postgresql.care.limits import PostgresqlLimits
from everpost.store.postgresql.care.lineage import DispatchGuard
from everpost.store.postgresql.care.meta import PostgresqlMeta
from everpost.store.postgresql.care.primary_watch import PrimaryWatch
from everpost.store.postgresql.care.timeline import PostgresqlTimeline
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.lists.history import PostgresqlHistory
from everpost.store.postgresql.media.files import PostgresqlFiles
from everpost.store.postgresql.schema.migrate import bring_up
from everpost.store.postgresql.tasks.batches import PostgresqlBatches
from everpost.store.postgresql.tasks.changes import PostgresqlChanges
from everpost.store.postgresql.tasks.ledger import PostgresqlLedger
from everpost.store.postgresql.tasks.operations import PostgresqlOperations
from everpost.store.postgresql.tasks.recurring import PostgresqlRecurring
from everpost.store.postgresql.tasks.relay import PostgresqlRelay
from everpost.store.postgresql.tasks.traces import PostgresqlTraces


class PostgresqlStore:
    """See `everpost.store.Store`."""

    def __init__(
        self,
        database: Database,
        *,
        zone: tzinfo = UTC,
        clock: Clock | None = None,
        redactor: Redactor = USUALLY,
    ) -> None:
        self.database = database
        self._watch = PrimaryWatch(database.primary)
        self.guard = DispatchGuard(database, clock or database.primary.clock, self._watch)
        self.files = PostgresqlFiles(database)
        self.ledger = PostgresqlLedger(database, self.guard.check_claim, self.guard.check)
        self.relay = PostgresqlRelay(database)
        self.meta = PostgresqlMeta(database)
        self.care = PostgresqlCare(database, self._watch, self.guard, redactor)
        self.history = PostgresqlHistory(database, zone, redactor)
        self.changes = PostgresqlChanges(database)
        self.operations = PostgresqlOperations(database)
        self.limits = PostgresqlLimits(database)
        self.accounts = PostgresqlAccounts(database)
        self.keys = PostgresqlKeys(database)
        self.audit = PostgresqlAudit(database)
        self.batches = PostgresqlBatches(database, self.ledger)
        self.recurring = PostgresqlRecurring(database)
        self.failures = PostgresqlFailures(database, zone)
        self.timeline = PostgresqlTimeline(database)
        self.traces = PostgresqlTraces(database)
        self.archive = PostgresqlArchive(database)
        self.held = PostgresqlHeld(database)

    @classmethod
    async def open(
        cls,
        address: PostgresqlAddress,
        *,
        zone: tzinfo = UTC,
        clock: Clock | None = None,
        replica_lag_s: float = 0.0,
        redactor: Redactor = USUALLY,
    ) -> Self:
        """Connect, and bring the tables up to this version; see `Database.open`."""
        database = await Database.open(address, replica_lag_s)
        try:
            await bring_up(database)
            store = cls(database, zone=zone, clock=clock, redactor=redactor)
            await store.guard.begin()
        except BaseException:
            await database.close()
            raise
        return store

    async def close(self) -> None:
        """Commit what was submitted, then close every connection."""
        await self._watch.close()
        await self.guard.close()
        await self.database.close()
