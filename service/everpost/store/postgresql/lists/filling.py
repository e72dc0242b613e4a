"""Fills `publish_tasks_search` behind the hot path."""

import asyncio
from functools import partial
from typing import Any

import msgspec

from everpost.redaction import Redactor
from everpost.store.lists.words import MAX_DATA_BYTES
from everpost.store.meta import HIDDEN_IN_SEARCH
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.lists.search import document_of

ARCHIVED = {"title": None, "error_message": None, "data": None}
QUEUED = 20_000  # tasks that are queued for the index in one transaction
MOST_CHARACTERS = 500_000  # of one transaction, which keeps a connection that writes busy


class Document(msgspec.Struct, frozen=True):
    """A row of `publish_tasks_search`, and the row of `publish_tasks_unsearched` that asked for it."""

    entry: int
    task_id: str
    words: str
    vector: str


async def fill(database: Database, limit: int, redactor: Redactor) -> int:
    """Add the next tasks, at most `limit`; how many. 0 if no task is left, or another process took them first.

    The words are cut while no connection is in use, so no write waits for it.
    """
    rows = await database.search(lambda connection: _next(connection, limit))
    if not rows:
        return 0
    documents = await asyncio.to_thread(_cut, rows[:limit], redactor)
    entries = sorted({document.entry for document in documents})
    rest = [row["task_id"] for row in rows[len(documents) :] if row["entry"] == entries[-1]]
    task_ids = [document.task_id for document in documents]
    text = msgspec.json.encode(documents).decode()

    async def add(connection: Connection) -> bool:
        await connection.fetch_all("begin_filling")
        added = await connection.fetch_all(
            "add_search_rows", entries=entries, last=entries[-1], rest=rest, rows=text, task_ids=task_ids
        )
        return bool(added)

    return len(documents) if await database.write(add) else 0


async def empty(database: Database, hidden: str) -> bool:
    """Empty the index if it was filled with another redactor than that of this digest; whether it had rows.

    All tasks are queued for it first. If that is cut off, it begins again: a task may be queued twice.
    """
    if await database.read(lambda connection: connection.fetch_value("get_meta", key=HIDDEN_IN_SEARCH)) == hidden:
        return False
    was_filled = bool(await database.read(lambda connection: connection.fetch_value("has_searched")))
    last: str | None = "" if was_filled else None
    while last is not None:
        last = await database.write(partial(_queue, after=last))

    async def forget(connection: Connection) -> None:
        await connection.run("empty_search")
        await connection.run("set_meta", key=HIDDEN_IN_SEARCH, value=hidden)

    await database.write(forget)
    return was_filled


async def _queue(connection: Connection, *, after: str) -> str | None:
    last: str | None = await connection.fetch_value("queue_for_search", after=after, limit=QUEUED)
    return last


async def _next(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The next tasks with their texts, which are None if they were archived meanwhile."""
    await connection.fetch_all("begin_search", timeout_ms=60_000)
    entries = await connection.fetch_all("next_unsearched", limit=limit)
    task_ids = [row["task_id"] for row in entries]
    texts = await connection.fetch_all("texts_of_ended", task_ids=task_ids, most=MAX_DATA_BYTES)
    by_id = {row["task_id"]: row for row in texts}
    return [{**by_id.get(row["task_id"], ARCHIVED), **row} for row in entries]


def _cut(rows: list[dict[str, Any]], redactor: Redactor) -> list[Document]:
    """The first rows as documents, as many as one transaction takes."""
    documents: list[Document] = []
    characters = 0
    for row in rows:
        document = Document(row["entry"], row["task_id"], *document_of(row, redactor))
        characters += len(document.words) + len(document.vector)
        if documents and characters > MOST_CHARACTERS:
            break
        documents.append(document)
    return documents
