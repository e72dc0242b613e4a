"""The port's audit on SQLite, table `audit_log`."""

from everpost.access import AuditRow
from everpost.clock import from_text
from everpost.store.audit import (
    PURGING,
    AuditFilter,
    AuditPage,
    entry_of,
    page_of,
    wanted_of,
)
from everpost.store.sqlite.care.meta import set_value
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.audit_entries import add_entry
from everpost.task.model import first_id_of


class SqliteAudit:
    """See `everpost.store.audit.Audit`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: AuditRow) -> None:
        """See the port."""
        await self._database.write(lambda connection: add_entry(connection, row))

    async def page(self, wanted: AuditFilter, before: str | None, limit: int) -> AuditPage:
        """See the port."""
        values = wanted_of(wanted, before, limit)
        about = "" if wanted.target is None else "_about"

        def find(connection: sqlite3.Connection) -> AuditPage:
            with snapshot(connection):
                found = connection.execute(load(f"page_of_audit{about}"), values).fetchall()
                last, scanned = connection.execute(load(f"end_of_audit{about}"), values).fetchone()
            rows = [entry_of(dict(zip(AuditRow.__struct_fields__, row, strict=True))) for row in found]
            return page_of(rows, last, scanned, limit)

        return await self._database.read(find)

    async def purge(self, before: str, limit: int) -> int:
        """See the port."""
        values = {"before": before, "before_id": first_id_of(from_text(before) or 0), "most": limit}

        def purge(connection: sqlite3.Connection) -> int:
            set_value(connection, PURGING, before)
            purged = connection.execute(load("purge_audit"), values).rowcount
            set_value(connection, PURGING, None)
            return purged

        return await self._database.write(purge)
