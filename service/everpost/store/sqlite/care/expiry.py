"""What is kept for a time only: Idempotency-Keys, ended operations, and their skips."""

from collections.abc import Mapping
from typing import Any

from everpost.clock import to_text
from everpost.store.operations import KEPT_MS, KEPT_OPERATIONS, KEPT_SKIPS_OF_ALL
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.task.model import first_id_of

ALWAYS = "~"  # sorts behind every time

Expired = list[tuple[str, Mapping[str, Any]]]
"""The statements that remove it, with their parameters."""


def find_expired(connection: sqlite3.Connection, keys_kept_ms: int, now_ms: int | None) -> Expired:
    """See `everpost.store.care.Care.forget_expired`."""
    ended_ms = 0 if now_ms is None else max(0, now_ms - KEPT_MS)
    too_old = first_id_of(ended_ms)
    too_many = _nth_newest(connection, "nth_newest_operation", KEPT_OPERATIONS)
    skips = _nth_newest(connection, "nth_newest_skip", KEPT_SKIPS_OF_ALL)
    return [
        ("expire_keys", {"kept_ms": keys_kept_ms}),
        ("forget_operations", {"operation_id": too_old, "before": to_text(ended_ms)}),
        ("forget_operations", {"operation_id": too_many, "before": ALWAYS}),
        ("forget_skips", {"operation_id": max(too_old, too_many, skips)}),
    ]


def _nth_newest(connection: sqlite3.Connection, statement: str, newer: int) -> str:
    row = connection.execute(load(statement), {"newer": newer - 1}).fetchone()
    return "" if row is None else str(row[0])


def forget_expired(connection: sqlite3.Connection, expired: Expired, limit: int) -> int:
    """Remove it, at most `limit` with each statement; how much was removed."""
    return sum(connection.execute(load(name), {**given, "limit": limit}).rowcount for name, given in expired)
