"""Tasks as they enter the ledger, once for each Idempotency-Key."""

from collections.abc import Sequence
from typing import Any

from everpost.errors import KeyReused
from everpost.store.ledger import FirstAnswer, IdempotencyKey, Once
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.media.uses import check_files, use_files
from everpost.store.postgresql.tasks.typed_rows import accepted_values, request_values
from everpost.task.model import Task


async def find_answer(connection: Connection, key: IdempotencyKey) -> FirstAnswer | None:
    """See `everpost.store.ledger.Ledger.find_answer`."""
    names: dict[str, Any] = {"key": key.key, "nameless": key.nameless, "fingerprint": key.fingerprint}
    known = await connection.fetch_one("find_idempotency_key", **names, kept_ms=key.kept_ms)
    if known is None:
        return None
    if known["fingerprint"] != key.fingerprint:
        raise KeyReused
    return FirstAnswer(known["accepted_id"], known["answer"])


async def accept_with_files(connection: Connection, *, tasks: Sequence[Task], now_ms: int, once: Once | None) -> bool:
    """Write tasks and which files they use; False if the key is in use.

    Raises:
        UnknownFileError: A task names a file of Everpost's without a record.
    """
    await check_files(connection, tasks)
    if once is None:
        await connection.write_rows("accept_tasks", accepted_values(tasks, now_ms))
    elif not await connection.write_rows("accept_once", [request_values(tasks, now_ms, once)]):
        return False
    await use_files(connection, tasks)
    return True
