"""Moves rows that no worker can run from the ledger into the history (I1)."""

from hashlib import sha256

from everpost.store.odd_rows import readable_id, record_of_odd
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.tasks.attempts import Attempts
from everpost.store.postgresql.tasks.ends import end_tasks
from everpost.store.relay import MayBeSent, OddFacts, SetAside


async def set_aside_row(
    connection: Connection, task_id: str, fault: str, may_be_sent: MayBeSent, now_ms: int
) -> SetAside | None:
    """Move a row that cannot be run from the ledger into the history; None if it has left the ledger already.

    An id that callers could not use becomes `row-` and its digest, and attempts that are not a list are dropped. The
    data stays as it is.

    Raises:
        StatementRefused: The history has a task with that id already.
    """
    row = await connection.fetch_one("find_odd_row", task_id=task_id)
    if row is None:
        return None
    new_id = readable_id(task_id.encode()) or f"row-{sha256(task_id.encode()).hexdigest()[:32]}"
    odd = OddFacts(new_id, row["platform"], row["sending"], Attempts(row["attempts"]).text)
    await connection.run("mend_odd_row", task_id=task_id, new_id=new_id, attempts=odd.attempts)
    record = record_of_odd(odd, fault, may_be_sent=may_be_sent(odd), now_ms=now_ms)
    await end_tasks(connection, [record])
    return SetAside(new_id, record.status)
