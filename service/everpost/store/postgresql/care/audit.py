"""The port's audit on PostgreSQL, table `audit_log`."""

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
from everpost.store.postgresql.care.meta import set_value
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import plain_text
from everpost.store.postgresql.tasks.audit_entries import add_entry
from everpost.task.model import first_id_of


class PostgresqlAudit:
    """See `everpost.store.audit.Audit`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: AuditRow) -> None:
        """See the port."""
        await self._database.write(lambda connection: add_entry(connection, row))

    async def page(self, wanted: AuditFilter, before: str | None, limit: int) -> AuditPage:
        """See the port."""
        values = {
            name: plain_text(value) if isinstance(value, str) else value
            for name, value in wanted_of(wanted, before, limit).items()
        }
        scan = {name: values[name] for name in ("before", "scanned")}
        about = "" if wanted.target is None else "_about"
        if about:
            scan["target"] = values["target"]
        else:
            del values["target"]

        async def find(connection: Connection) -> AuditPage:
            end = await connection.fetch_one(f"end_of_audit{about}", **scan)
            found = await connection.fetch_all(f"page_of_audit{about}", **values)
            last, scanned = (None, 0) if end is None else (end["last"], end["scanned"])
            return page_of([entry_of(row) for row in found], last, scanned, limit)

        return await self._database.snapshot(find)

    async def purge(self, before: str, limit: int) -> int:
        """See the port."""
        before_id = first_id_of(from_text(before) or 0)

        async def purge(connection: Connection) -> int:
            await set_value(connection, PURGING, before)
            purged = await connection.run("purge_audit", before=before, before_id=before_id, most=limit)
            await set_value(connection, PURGING, None)
            return purged

        return await self._database.write(purge)
