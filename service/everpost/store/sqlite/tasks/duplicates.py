"""The guard against duplicates on SQLite, table `recent_posts`; inside the transactions that write tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.store.batch_rows import newest_of_chains, recent_posts, recent_rows
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.duplicate_rules import Guard, find_duplicates


def duplicates_among(connection: sqlite3.Connection, guards: Mapping[str, Guard]) -> dict[str, str]:
    """For each new task that must not be accepted, the earlier task that forbids it."""
    digests = {guard.digest for guard in guards.values()}
    rows = named_rows(connection, "find_recent_posts", {"digests": json_list(digests)})
    chains = {"chain_ids": json_list([row["task_id"] for row in rows])}
    ends = newest_of_chains(named_rows(connection, "find_chain_ends", chains)) if rows else []
    return find_duplicates(guards, recent_posts(rows, ends))


def keep_guards(connection: sqlite3.Connection, guards: Mapping[str, Guard]) -> None:
    """Let later tasks be compared with these."""
    connection.executemany(load("keep_recent_post"), recent_rows(guards))


def named_rows(connection: sqlite3.Connection, statement: str, parameters: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The rows of a statement, by the names of its columns."""
    cursor = connection.execute(load(statement), parameters)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
