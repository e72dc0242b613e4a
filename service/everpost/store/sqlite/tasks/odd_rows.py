"""Moves rows that no worker can run from the ledger into the history (I1)."""

from typing import Any

from everpost.store.odd_rows import readable_id, record_of_odd
from everpost.store.relay import MayBeSent, OddFacts, SetAside
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.ends import end_tasks


def set_aside_row(
    connection: sqlite3.Connection, row: int, fault: str, may_be_sent: MayBeSent, now_ms: int
) -> SetAside | None:
    """Move a row that cannot be run from the ledger into the history; None if it has left the ledger already.

    Columns that would break the history are mended first: an unreadable id becomes `row-NUMBER`, and attempts that are
    not a list are dropped. The data stays as it is.

    Raises:
        sqlite3.IntegrityError: The history has a task with that id already.
    """
    found = connection.execute(load("find_odd_row"), {"row": row}).fetchone()
    if found is None:
        return None
    odd = _read(row, *found)
    connection.execute(load("mend_odd_row"), {"row": row, "task_id": odd.task_id, "attempts": odd.attempts})
    record = record_of_odd(odd, fault, may_be_sent=may_be_sent(odd), now_ms=now_ms)
    end_tasks(connection, [record])
    return SetAside(odd.task_id, record.status)


def _read(row: int, task_id: bytes | None, platform: bytes | None, sending: Any, attempts: str | None) -> OddFacts:
    return OddFacts(
        task_id=readable_id(task_id) or f"row-{row}",
        platform=None if platform is None else platform.decode(errors="replace"),
        sending=sending,
        attempts=attempts,
    )
