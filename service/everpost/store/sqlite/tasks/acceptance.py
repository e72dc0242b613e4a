"""Writes accepted tasks into the ledger: with an Idempotency-Key only once, and with the answer to the client."""

from collections.abc import Sequence
from typing import Any

import msgspec

from everpost.clock import to_text
from everpost.errors import KeyReused
from everpost.store.files import UnknownFileError
from everpost.store.ledger import FirstAnswer, IdempotencyKey, Once
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.media.uses import find_missing, use_files
from everpost.store.sqlite.queries import load
from everpost.store.task_rows import accepted_row
from everpost.task.model import Task

KeyFinding = FirstAnswer | KeyReused | None
"""The result of looking up a key: an earlier answer, another request's use, or nothing."""


def accept_tasks(connection: sqlite3.Connection, tasks: Sequence[Task], now_ms: int) -> None:
    """Write the rows of tasks, all in one statement, and which files they use."""
    if tasks:
        rows = msgspec.json.encode(rows_of_accepted(tasks, now_ms)).decode()
        connection.execute(load("accept_tasks"), {"rows": rows})
        use_files(connection, tasks)


def rows_of_accepted(tasks: Sequence[Task], now_ms: int) -> list[tuple[Any, ...]]:
    """The tasks as rows for `accept_tasks.sql`."""
    return [tuple(accepted_row(task, now_ms).values()) for task in tasks]


def find_answer(connection: sqlite3.Connection, key: IdempotencyKey) -> KeyFinding:
    """The earlier use of the key."""
    parameters = {"key": key.key, "nameless": key.nameless, "fingerprint": key.fingerprint, "kept_ms": key.kept_ms}
    known = connection.execute(load("find_idempotency_key"), parameters).fetchone()
    if known is None:
        return None
    fingerprint, accepted_id, body = known
    return FirstAnswer(accepted_id, body) if fingerprint == key.fingerprint else KeyReused()


def accept_once(
    connection: sqlite3.Connection, tasks: Sequence[Task], now_ms: int, once: Once | None
) -> KeyFinding | UnknownFileError:
    """Write the rows, the key and the answer, unless the key was used before; return the earlier use, if any.

    An error is returned, not raised, because raising it would repeat everything that is committed together.
    """
    if once is not None and (known := find_answer(connection, once.key)) is not None:
        return known
    if (missing := find_missing(connection, tasks)) is not None:
        return UnknownFileError(missing)
    if once is not None:
        keep_answer(connection, once.key, once.answer, to_text(now_ms))
    accept_tasks(connection, tasks, now_ms)
    return None


def keep_answer(connection: sqlite3.Connection, key: IdempotencyKey, answer: FirstAnswer, now: str) -> None:
    """Keep the answer to a request with its key."""
    kept = {"key": key.key, "fingerprint": key.fingerprint, "created_at": now}
    kept |= {"accepted_id": answer.accepted_id, "answer": answer.body}
    connection.execute(load("keep_idempotency_key"), kept)
