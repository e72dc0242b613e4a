"""Checkpoints of running attempts."""

from collections.abc import Mapping
from typing import Any

from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.task.earlier_attempts import may_save


def save_checkpoint(connection: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
    """See `everpost.store.ledger.Ledger.save_checkpoint`."""
    facts = connection.execute(load("checkpoint_facts"), {"task_id": row["task_id"]}).fetchone()
    if facts is None or not may_save(row["attempt"], *facts):
        return False
    connection.execute(load("save_checkpoint"), row)
    return True
