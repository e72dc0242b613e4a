"""Keeps entries of the audit together with the changes that they are about."""

from everpost.access import AuditRow
from everpost.store.audit import row_of
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text, plain_text


async def add_entry(connection: Connection, row: AuditRow) -> None:
    """Keep an entry, inside the caller's transaction."""
    await connection.run("add_audit", **entry_values(row))


def entry_values(row: AuditRow) -> dict[str, str | None]:
    """The named values of an entry."""
    values = row_of(row, json_text(row.details))
    return {name: plain_text(value) if value is not None and "\0" in value else value for name, value in values.items()}
