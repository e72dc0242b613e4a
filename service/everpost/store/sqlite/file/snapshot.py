"""Several statements that see the same state of the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from everpost.store.sqlite.library import sqlite3


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A read transaction: no task moves from table to table between two statements inside it."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")
