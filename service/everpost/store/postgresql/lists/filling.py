"""Fills `publish_tasks_search` behind the hot path."""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec

from everpost.store.lists.words import MAX_DATA_BYTES
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.lists.search import document_of

ENTRIES = 100  # of a step; an entry has the tasks of one statement that ended tasks


class Unsearched(msgspec.Struct, frozen=True):
    """The next ended tasks that the search lacks.

    Attributes:
        entries: The rows of `publish_tasks_unsearched` that have them.
        rows: The tasks.
        rest: The ids of the last entry's other tasks.
    """

    entries: list[int]
    rows: list[dict[str, Any]]
    rest: list[str]


async def fill(database: Database, limit: int) -> int:
    """Add the next tasks, at most `limit`; how many. 0 if there are none, or another process took them first.

    The words are cut while no connection is in use, so no write waits for it.
    """
    found = await database.snapshot(lambda connection: _next(connection, limit))
    if not found.entries:
        return 0
    rows = await asyncio.to_thread(_documents, found.rows)
    taken = await database.write(lambda connection: _add(connection, found, rows))
    return len(found.rows) if taken else 0


async def _next(connection: Connection, limit: int) -> Unsearched:
    await connection.fetch_all("begin_search", timeout_ms=60_000)
    rows = await connection.fetch_all("next_unsearched", entries=min(ENTRIES, limit), most=MAX_DATA_BYTES)
    entries: list[int] = []
    taken: list[dict[str, Any]] = []
    for entry, group in groupby(rows, key=lambda row: row["entry"]):
        tasks = list(group)
        room = limit - len(taken)
        entries.append(entry)
        taken += tasks[:room]
        if len(tasks) >= room:
            return Unsearched(entries, taken, [row["task_id"] for row in tasks[room:]])
    return Unsearched(entries, taken, [])


def _documents(rows: Sequence[dict[str, Any]]) -> str:
    documents = [(row["entry"], row["task_id"], *document_of(row)) for row in rows]
    names = ("entry", "task_id", "words", "vector")
    return msgspec.json.encode([dict(zip(names, document, strict=True)) for document in documents]).decode()


async def _add(connection: Connection, found: Unsearched, rows: str) -> bool:
    added = await connection.fetch_all(
        "add_search_rows", entries=found.entries, last=found.entries[-1], rest=found.rest, rows=rows
    )
    return bool(added)
