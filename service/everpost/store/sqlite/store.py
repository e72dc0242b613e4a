"""The store on an SQLite file: all nouns on one open database."""

from datetime import UTC, tzinfo
from pathlib import Path
from typing import Self

from everpost.redaction import USUALLY, Redactor
from everpost.store.sqlite.care.accounts import SqliteAccounts
from everpost.store.sqlite.care.archive import SqliteArchive
from everpost.store.sqlite.care.audit import SqliteAudit
from everpost.store.sqlite.care.care import SqliteCare
from everpost.store.sqlite.care.failures import SqliteFailures
from everpost.store.sqlite.care.held import SqliteHeld
from everpost.store.sqlite.care.keys import SqliteKeys
from everpost.store.sqlite.care.limits import SqliteLimits
from everpost.store.sqlite.care.meta import SqliteMeta
from everpost.store.sqlite.care.timeline import SqliteTimeline
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.lists.history import SqliteHistory
from everpost.store.sqlite.media.files import SqliteFiles
from everpost.store.sqlite.tasks.batches import SqliteBatches
from everpost.store.sqlite.tasks.changes import SqliteChanges
from everpost.store.sqlite.tasks.ledger import SqliteLedger
from everpost.store.sqlite.tasks.operations import SqliteOperations
from everpost.store.sqlite.tasks.recurring import SqliteRecurring
from everpost.store.sqlite.tasks.relay import SqliteRelay
from everpost.store.sqlite.tasks.traces import SqliteTraces


class SqliteStore:
    """See `everpost.store.Store`."""

    def __init__(self, database: Database, *, zone: tzinfo = UTC, redactor: Redactor = USUALLY) -> None:
        self.database = database
        self.files = SqliteFiles(database)
        self.ledger = SqliteLedger(database)
        self.relay = SqliteRelay(database)
        self.meta = SqliteMeta(database)
        self.care = SqliteCare(database, redactor)
        self.history = SqliteHistory(database, zone, redactor)
        self.archive = SqliteArchive(database)
        self.held = SqliteHeld(database)
        self.changes = SqliteChanges(database)
        self.operations = SqliteOperations(database)
        self.limits = SqliteLimits(database)
        self.accounts = SqliteAccounts(database)
        self.keys = SqliteKeys(database)
        self.audit = SqliteAudit(database)
        self.batches = SqliteBatches(database)
        self.recurring = SqliteRecurring(database)
        self.failures = SqliteFailures(database, zone)
        self.timeline = SqliteTimeline(database)
        self.traces = SqliteTraces(database)

    @classmethod
    async def open(cls, path: Path, *, zone: tzinfo = UTC, redactor: Redactor = USUALLY) -> Self:
        """Bring the file up to `schema.sql`, adopting an original one, and connect; see `Database.open`."""
        return cls(await Database.open(path), zone=zone, redactor=redactor)

    async def close(self) -> None:
        """Commit what was submitted, then close every connection."""
        await self.database.close()
