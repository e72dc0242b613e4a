"""The port's batches on PostgreSQL, table `batches`."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.clock import to_text
from everpost.errors import DatabaseBusy
from everpost.store.batch_rows import batch_of, batch_row, chains_of, newest_of_chains, summary_of
from everpost.store.batches import COUNTED, NEWEST, Accepted, Batch, BatchKind, BatchSummary, ChainEnd, Posting
from everpost.store.ledger import FirstAnswer, IdempotencyKey, TaskExistsError
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.faults import StatementRefused
from everpost.store.postgresql.link.texts import storable
from everpost.store.postgresql.media.uses import check_files, use_files
from everpost.store.postgresql.tasks.duplicates import duplicates_among, keep_guards, lock_duplicates
from everpost.store.postgresql.tasks.ledger import KEY_TRIES, PostgresqlLedger
from everpost.store.postgresql.tasks.typed_rows import accepted_values
from everpost.task.duplicate_rules import Guard


class PostgresqlBatches:
    """See `everpost.store.batches.Batches`."""

    def __init__(self, database: Database, ledger: PostgresqlLedger) -> None:
        self._database = database
        self._ledger = ledger

    async def accept(self, posting: Posting, now_ms: int) -> Accepted:
        """See the port."""
        for _ in range(KEY_TRIES):
            if posting.key is not None and (earlier := await self._ledger.find_answer(posting.key)) is not None:
                return Accepted(tasks=(), answer=earlier, is_repeated=True)
            accepted = await self._try(posting, now_ms)
            if accepted is not None:
                return accepted
        raise DatabaseBusy

    async def _try(self, posting: Posting, now_ms: int) -> Accepted | None:
        """Write the posting; None if its key is in use."""
        until = {} if posting.key is None else {"until_s": posting.key.until_s}
        try:
            return await self._database.write(lambda connection: _accept(connection, posting, now_ms), **until)
        except StatementRefused as error:
            raise TaskExistsError(str(error)) from error

    async def find(self, batch_id: str) -> tuple[Batch, list[ChainEnd]] | None:
        """See the port."""
        return await self._database.snapshot(lambda connection: _find(connection, batch_id))

    async def page(
        self, before: str | None = None, limit: int = 25, reach: Sequence[str] | None = None
    ) -> list[BatchSummary]:
        """See the port."""
        return await self._database.search(lambda connection: _page(connection, before, limit, reach))

    async def find_duplicates(self, guards: Mapping[str, Guard]) -> Mapping[str, str]:
        """See the port."""
        return await self._database.snapshot(lambda connection: duplicates_among(connection, guards))


async def _accept(connection: Connection, posting: Posting, now_ms: int) -> Accepted | None:
    await check_files(connection, posting.tasks)
    duplicates = await lock_duplicates(connection, posting.guards)
    tasks = [task for task in posting.tasks if task.task_id not in duplicates]
    posted = posting.rule(duplicates)
    if not tasks:
        return Accepted(tasks=(), answer=posted.answer, duplicates=duplicates)
    if posting.key is not None and not await _keep_key(connection, posting.key, posted.answer, to_text(now_ms)):
        return None
    if posted.batch is not None:
        await connection.run("keep_batch", **batch_row(posted.batch, tasks))
    await connection.write_rows("accept_tasks", accepted_values(tasks, now_ms))
    await use_files(connection, tasks)
    guards = {task_id: guard for task_id, guard in posting.guards.items() if task_id not in duplicates}
    await keep_guards(connection, guards)
    return Accepted(tasks=tasks, answer=posted.answer, duplicates=duplicates)


async def _keep_key(connection: Connection, key: IdempotencyKey, answer: FirstAnswer, now: str) -> bool:
    """Keep the answer with the key; False if the key is in use."""
    row: dict[str, Any] = {"key": key.key, "fingerprint": key.fingerprint, "kept_ms": key.kept_ms, "created_at": now}
    kept = await connection.fetch_all("keep_key", **row, accepted_id=answer.accepted_id, answer=answer.body)
    return bool(kept)


async def _page(
    connection: Connection, before: str | None, limit: int, reach: Sequence[str] | None
) -> list[BatchSummary]:
    await connection.fetch_all("begin_search", timeout_ms=60_000)
    ids = await connection.fetch_all(
        "page_batch_ids", before=NEWEST if before is None else storable(before), limit=limit
    )
    tasks: dict[str, list[Mapping[str, Any]]] = {row["batch_id"]: [] for row in ids}
    for row in await connection.fetch_all("tasks_of_batches", batch_ids=list(tasks), most=COUNTED):
        tasks[row["batch_id"]].append(row)
    return [summary_of(row["batch_id"], row["kind"], tasks[row["batch_id"]], COUNTED, reach) for row in ids]


async def _find(connection: Connection, batch_id: str) -> tuple[Batch, list[ChainEnd]] | None:
    found = await connection.fetch_one("find_batch", batch_id=storable(batch_id))
    batch = None if found is None else batch_of(dict(found))
    if batch is None or batch.kind is not BatchKind.FANOUT:
        return None
    rows = await connection.fetch_all("find_chain_ends", chain_ids=chains_of(batch))
    return batch, newest_of_chains([dict(row) for row in rows])
