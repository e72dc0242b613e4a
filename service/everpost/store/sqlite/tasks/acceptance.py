"""Writes accepted tasks into the ledger: with an Idempotency-Key only once, and with the answer to the client."""

from collections.abc import Sequence

import msgspec

from everpost.clock import to_text
from everpost.errors import KeyReused
from everpost.store.ledger import FirstAnswer, IdempotencyKey, Once
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.task_rows import accepted_row
from everpost.task.model import Task

KeyFinding = FirstAnswer | KeyReused | None
"""The result of looking up a key: an earlier answer, another request's use, or nothing."""


def accept_tasks(connection: sqlite3.Connection, tasks: Sequence[Task], now_ms: int) -> None:
    """Write the rows of tasks, all in one statement."""
    if tasks:
        rows = msgspec.json.encode([accepted_row(task, now_ms) for task in tasks]).decode()
        connection.execute(load("accept_tasks"), {"rows": rows})


def find_answer(connection: sqlite3.Connection, key: IdempotencyKey) -> KeyFinding:
    """The earlier use of the key."""
    parameters = {"key": key.key, "kept_ms": key.kept_ms}
    known = connection.execute(load("find_idempotency_key"), parameters).fetchone()
    if known is None:
        return None
    fingerprint, accepted_id, body = known
    return FirstAnswer(accepted_id, body) if fingerprint == key.fingerprint else KeyReused()


def accept_once(connection: sqlite3.Connection, tasks: Sequence[Task], now_ms: int, once: Once) -> KeyFinding:
    """Write the rows, the key and the answer, unless the key was used before; return the earlier use, if any.

    An error is returned, not raised, because raising it would repeat everything that is committed together.
    """
    known = find_answer(connection, once.key)
    if known is not None:
        return known
    kept = {"key": once.key.key, "fingerprint": once.key.fingerprint, "created_at": to_text(now_ms)}
    kept |= {"accepted_id": once.answer.accepted_id, "answer": once.answer.body}
    connection.execute(load("keep_idempotency_key"), kept)
    accept_tasks(connection, tasks, now_ms)
    return None
