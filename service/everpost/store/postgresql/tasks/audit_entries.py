"""Keeps entries of the audit together with the changes that they are about."""

from everpost.access import AuditRow
from everpost.store.audit import row_of
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text, plain_text


async def add_entry(connection: Connection, row: AuditRow) -> None:
    """Keep an entry, inside the caller's transaction."""
    values = {name: plain_text(value) for name, value in row_of(row).items()}
    await connection.run("add_audit", **values | {"details": json_text(row.details)})
