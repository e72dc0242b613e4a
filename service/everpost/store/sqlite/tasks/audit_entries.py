"""Keeps entries of the audit together with the changes that they are about."""

import msgspec

from everpost.access import AuditRow
from everpost.store.audit import row_of
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load


def add_entry(connection: sqlite3.Connection, row: AuditRow) -> None:
    """Keep an entry, inside the caller's transaction."""
    connection.execute(load("add_audit"), row_of(row, msgspec.json.encode(row.details).decode()))
