"""Whether others write to the file while long work goes on: it rests for them, and else has no reason to."""

import time

from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3

RECENT_S = 0.2  # whoever wrote so long ago may well write again


class OtherWriters:
    """Looks, at each step of the work, for writes that were not the step's own.

    Args:
        database: What the work writes to, one transaction a step.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._submitted = database.submitted
        self._version: int | None = None
        self._seen_s = 0.0

    def look(self, raw: sqlite3.Connection) -> None:
        """See whether another connection has committed since the last step; called in a step's transaction.

        SQLite counts these in `data_version`, the commits of its own connection excluded.
        """
        (version,) = raw.execute("PRAGMA data_version").fetchone()
        if self._version not in {None, version}:
            self._seen_s = time.monotonic()
        self._version = version

    def are_writing(self) -> bool:
        """Whether anybody but the work has written within `RECENT_S`; asked once behind each step."""
        submitted = self._database.submitted
        if submitted > self._submitted + 1:
            self._seen_s = time.monotonic()
        self._submitted = submitted
        return time.monotonic() - self._seen_s < RECENT_S
