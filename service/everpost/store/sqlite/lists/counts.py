"""Compares `task_counts` with the rows it counts, and repairs it: another program may have changed it."""

from uuid import uuid4

from everpost.store.lists.counted import Pair, drift_of
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load

KEY = "counts"  # in everpost_meta: each repair changes it, so that two workers do not do the same one
COUNT_S = 60.0  # for a whole count; ten million tasks take 5 s


class Drift:
    """How far the counts are from the rows, in one state of the database.

    Attributes:
        token: Which repair was the last.
        by_pair: How many tasks are missing in each count; negative where there are too many.
    """

    def __init__(self, token: str | None, by_pair: dict[Pair, int]) -> None:
        self.token = token
        self.by_pair = by_pair


def find_drift(connection: sqlite3.Connection) -> Drift:
    """Compare the counts with the rows."""
    with snapshot(connection):
        token = connection.execute(load("get_meta"), {"key": KEY}).fetchone()
        there = connection.execute(load("count_rows")).fetchall()
        told = connection.execute(load("read_counts")).fetchall()
    return Drift(None if token is None else str(token[0]), drift_of(there, told))


def add_drift(connection: sqlite3.Connection, drift: Drift) -> bool:
    """Add what is missing, unless another repair came first."""
    found = connection.execute(load("get_meta"), {"key": KEY}).fetchone()
    if (None if found is None else str(found[0])) != drift.token:
        return False
    rows = [
        {"source": source, "status": status, "platform": platform, "tasks": tasks}
        for (source, status, platform), tasks in drift.by_pair.items()
    ]
    connection.executemany(load("add_to_count"), rows)
    connection.execute(load("set_meta"), {"key": KEY, "value": uuid4().hex})
    return True
