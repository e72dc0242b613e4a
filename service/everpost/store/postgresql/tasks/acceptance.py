"""Tasks as they enter the ledger, once for each Idempotency-Key."""

from collections.abc import Sequence
from typing import Any

from everpost.clock import to_text
from everpost.errors import KeyReused
from everpost.store.ledger import FirstAnswer, IdempotencyKey, Once
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text
from everpost.store.postgresql.media.uses import check_files, use_files
from everpost.store.task_rows import accepted_row
from everpost.task.model import Task


async def find_answer(connection: Connection, key: IdempotencyKey) -> FirstAnswer | None:
    """See `everpost.store.ledger.Ledger.find_answer`."""
    known = await connection.fetch_one("find_idempotency_key", key=key.key, kept_ms=key.kept_ms)
    if known is None:
        return None
    if known["fingerprint"] != key.fingerprint:
        raise KeyReused
    return FirstAnswer(known["accepted_id"], known["answer"])


def row_of_request(tasks: Sequence[Task], now_ms: int, once: Once) -> dict[str, Any]:
    """The row of a request with a key, for `accept_once.sql`."""
    return {
        "task_id": once.key.key,
        "fingerprint": once.key.fingerprint,
        "accepted_id": once.answer.accepted_id,
        "created_at": to_text(now_ms),
        "answer": once.answer.body,
        "kept_ms": once.key.kept_ms,
        "tasks": [accepted_row(task, now_ms) for task in tasks],
    }


async def accept_with_files(connection: Connection, *, tasks: Sequence[Task], now_ms: int, once: Once | None) -> bool:
    """Write tasks and which files they use; False if the key is in use.

    Raises:
        UnknownFileError: A task names a file of Everpost's without a record.
    """
    await check_files(connection, tasks)
    if once is None:
        await connection.fetch_all("accept_tasks", rows=json_text([accepted_row(task, now_ms) for task in tasks]))
    elif not await connection.fetch_all("accept_once", rows=json_text([row_of_request(tasks, now_ms, once)])):
        return False
    await use_files(connection, tasks)
    return True
