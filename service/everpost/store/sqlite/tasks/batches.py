"""The port's batches on SQLite, table `batches`."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.clock import to_text
from everpost.errors import KeyReused
from everpost.store.batch_rows import batch_of, batch_row, chains_of, newest_of_chains, summary_of
from everpost.store.batches import COUNTED, NEWEST, Accepted, Batch, BatchKind, BatchSummary, ChainEnd, Posting
from everpost.store.files import UnknownFileError
from everpost.store.ledger import TaskExistsError
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.media.uses import find_missing
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.acceptance import accept_tasks, find_answer, keep_answer
from everpost.store.sqlite.tasks.duplicates import duplicates_among, keep_guards, named_rows
from everpost.store.sqlite.tasks.positions import json_list
from everpost.task.duplicate_rules import Guard


class SqliteBatches:
    """See `everpost.store.batches.Batches`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, posting: Posting, now_ms: int) -> Accepted:
        """See the port."""
        try:
            accepted = await self._database.write(lambda connection: _accept(connection, posting, now_ms))
        except sqlite3.IntegrityError as error:
            raise TaskExistsError(str(error)) from error
        if isinstance(accepted, KeyReused | UnknownFileError):
            raise accepted
        return accepted

    async def find(self, batch_id: str) -> tuple[Batch, list[ChainEnd]] | None:
        """See the port."""
        return await self._database.read(lambda connection: _find(connection, batch_id))

    async def page(
        self, before: str | None = None, limit: int = 25, reach: Sequence[str] | None = None
    ) -> list[BatchSummary]:
        """See the port."""
        given = {"before": NEWEST if before is None else before, "limit": limit}
        return await self._database.search(lambda connection: _page(connection, given, reach))

    async def find_duplicates(self, guards: Mapping[str, Guard]) -> Mapping[str, str]:
        """See the port."""
        return await self._database.read(lambda connection: duplicates_among(connection, guards))


def _accept(connection: sqlite3.Connection, posting: Posting, now_ms: int) -> Accepted | KeyReused | UnknownFileError:
    """Write a posting. An error is returned, because raising it would repeat everything that is committed together."""
    if posting.key is not None and (known := find_answer(connection, posting.key)) is not None:
        return known if isinstance(known, KeyReused) else Accepted(tasks=(), answer=known, is_repeated=True)
    if (missing := find_missing(connection, posting.tasks)) is not None:
        return UnknownFileError(missing)
    duplicates = duplicates_among(connection, posting.guards) if posting.guards else {}
    tasks = [task for task in posting.tasks if task.task_id not in duplicates]
    posted = posting.rule(duplicates)
    if not tasks:
        return Accepted(tasks=(), answer=posted.answer, duplicates=duplicates)
    if posting.key is not None:
        keep_answer(connection, posting.key, posted.answer, to_text(now_ms))
    if posted.batch is not None:
        connection.execute(load("keep_batch"), batch_row(posted.batch, tasks))
    accept_tasks(connection, tasks, now_ms)
    guards = {task_id: guard for task_id, guard in posting.guards.items() if task_id not in duplicates}
    keep_guards(connection, guards)
    return Accepted(tasks=tasks, answer=posted.answer, duplicates=duplicates)


def _page(connection: sqlite3.Connection, given: dict[str, Any], reach: Sequence[str] | None) -> list[BatchSummary]:
    with snapshot(connection):
        found = []
        for row in named_rows(connection, "page_batch_ids", given):
            tasks = named_rows(connection, "tasks_of_batch", {"batch_id": row["batch_id"], "most": COUNTED})
            found.append(summary_of(row["batch_id"], row["kind"], tasks, COUNTED, reach))
    return found


def _find(connection: sqlite3.Connection, batch_id: str) -> tuple[Batch, list[ChainEnd]] | None:
    with snapshot(connection):
        found = named_rows(connection, "find_batch", {"batch_id": batch_id})
        batch = batch_of(found[0]) if found else None
        if batch is None or batch.kind is not BatchKind.FANOUT:
            return None
        rows = named_rows(connection, "find_chain_ends", {"chain_ids": json_list(chains_of(batch))})
    return batch, newest_of_chains(rows)
