"""Keeps the causes of failed tasks, tables `failures` and `failure_causes`; inside the transactions that write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load


def keep_failures(connection: sqlite3.Connection, failures: Sequence[Mapping[str, Any]]) -> None:
    """Keep the causes of failed tasks that are in the history, as rows of `everpost.store.failures.failure_row`."""
    connection.executemany(load("keep_cause"), failures)
    connection.executemany(load("keep_failure"), failures)
