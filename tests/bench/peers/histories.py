"""Where a peer records how its tasks ended: a table of an SQLite file, or oban's own in PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Protocol

import psycopg

from everpost.store.sqlite.library import sqlite3

SCHEME = "postgresql://"


class History(Protocol):
    """What the bench asks."""

    def has(self, recorded: int) -> bool:
        """Whether this many tasks are recorded. It is cheap."""

    def complete(self) -> tuple[int, int, int]:
        """The number of rows, of tasks, and of successes."""

    def is_recorded(self, task_id: str) -> bool:
        """Whether a task has ended."""


class SqliteHistory:
    """See `History`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def has(self, recorded: int) -> bool:
        """See `History`."""
        found: int = self._connection.execute("SELECT ifnull(max(id), 0) FROM history").fetchone()[0]
        return found >= recorded

    def complete(self) -> tuple[int, int, int]:
        """See `History`."""
        counted = "SELECT count(*), count(DISTINCT job_id), sum(status = 'success') FROM history"
        rows, tasks, succeeded = self._connection.execute(counted).fetchone()
        return rows, tasks, succeeded

    def is_recorded(self, task_id: str) -> bool:
        """See `History`."""
        return self._connection.execute("SELECT 1 FROM history WHERE job_id = ?", (task_id,)).fetchone() is not None


class ObanHistory:
    """See `History`."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def has(self, recorded: int) -> bool:
        """See `History`; all are asked for, so it is enough that none is unfinished."""
        unfinished = "SELECT FROM oban_jobs WHERE state IN ('available', 'scheduled', 'executing', 'retryable') LIMIT 1"
        return self._connection.execute(unfinished).fetchone() is None

    def complete(self) -> tuple[int, int, int]:
        """See `History`."""
        counted = "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE state = 'completed') FROM oban_jobs"
        row = self._connection.execute(counted).fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    def is_recorded(self, task_id: str) -> bool:
        """See `History`."""
        ended = "SELECT FROM oban_jobs WHERE id = %s AND state = 'completed'"
        return self._connection.execute(ended, (int(task_id),)).fetchone() is not None


@contextmanager
def history_at(database: str) -> Iterator[History]:
    """Look into the history of a path or an address."""
    if database.startswith(SCHEME):
        with psycopg.connect(database, autocommit=True) as server:
            yield ObanHistory(server)
        return
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as file:
        yield SqliteHistory(file)
