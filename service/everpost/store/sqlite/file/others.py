"""Tells long work whether other connections write to the file, so that it rests only for them."""

import time

from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3

RECENT_S = 0.2  # a writer within this time may well write again


class OtherWriters:
    """At each step of the work, looks for writes that were not its own.

    Args:
        database: The database the work writes to, in transactions that call `look`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._submitted = database.submitted
        self._version: int | None = None
        self._seen_s = 0.0

    def look(self, raw: sqlite3.Connection) -> None:
        """Check whether another connection has committed since the last step; called in a step's transaction.

        SQLite's `data_version` counts these commits, without those of its own connection.
        """
        (version,) = raw.execute("PRAGMA data_version").fetchone()
        if self._version not in {None, version}:
            self._seen_s = time.monotonic()
        self._version = version
        self._submitted += 1  # this transaction

    def are_writing(self) -> bool:
        """Whether others have written within `RECENT_S`; called once after each step."""
        submitted = self._database.submitted
        if submitted > self._submitted:
            self._seen_s = time.monotonic()
        self._submitted = submitted
        return time.monotonic() - self._seen_s < RECENT_S
