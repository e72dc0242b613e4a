"""The ledger as the relay walks through it, in the order of the transactions that wrote its rows."""

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from everpost.clock import to_text
from everpost.store.odd_rows import MOST_DATA_BYTES, NO_ID, entry_of, fault_of_data, task_of
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.faults import StatementRefused
from everpost.store.postgresql.tasks.odd_rows import set_aside_row
from everpost.store.relay import (
    DATED_AHEAD_MS,
    MayBeSent,
    OddTask,
    RelayPage,
    RunnableTasks,
    SetAside,
    StuckError,
)
from everpost.task.model import QueueEntry, Task


class PostgresqlRelay:
    """See `everpost.store.relay.Relay`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, cursor: str | None, before_ms: int, limit: int) -> RelayPage:
        """See `Relay.page`."""
        return await self._database.snapshot(lambda connection: _page(connection, cursor, before_ms, limit))

    async def runnable(self, task_ids: Collection[str]) -> RunnableTasks:
        """See `Relay.runnable`."""
        return await self._runnable("runnable_tasks", task_ids)

    async def callbacks(self, task_ids: Collection[str]) -> RunnableTasks:
        """See `Relay.callbacks`."""
        return await self._runnable("find_callbacks", task_ids)

    async def _runnable(self, statement: str, task_ids: Collection[str]) -> RunnableTasks:
        rows = await self._database.read(
            lambda connection: connection.fetch_all(statement, task_ids=list(task_ids), most=MOST_DATA_BYTES)
        )
        accepted = [row for row in rows if row["accepted_by"] is not None]
        faults = {row["task_id"]: fault_of_data(row.pop("size_bytes")) for row in accepted}
        return RunnableTasks(
            tasks=[_task_of(row) for row in accepted if faults[row["task_id"]] is None],
            odd=[OddTask(task_id, fault) for task_id, fault in faults.items() if fault is not None],
        )

    async def set_aside(self, odd: OddTask, rule: MayBeSent, now_ms: int) -> SetAside | None:
        """See `Relay.set_aside`."""
        try:
            return await self._database.write(
                lambda connection: set_aside_row(connection, odd.token, odd.fault, rule, now_ms)
            )
        except StatementRefused as error:
            raise StuckError(str(error)) from error


class _Position(NamedTuple):
    """A place in the order of the walk: rows of one transaction are ordered by their ids."""

    transaction: int
    task_id: str


_BEGIN = _Position(0, "")


class _Walk(msgspec.Struct, frozen=True, array_like=True):
    """How far a walk has come; as JSON, it is the cursor.

    Attributes:
        timeline: The server's. After a promotion or restore, transactions have other numbers, and a walk begins anew.
        after: The last row that was looked at.
        end: Where the last walk ended. It has shown the rows up to there.
        late: Transactions up to `end` that ran during the last walk, so that it may have missed their rows.
        young: The first row that was too young for this walk: the next walk goes on there.
        missed: The transactions that will be `late` for the next walk.
    """

    timeline: str
    after: _Position = _BEGIN
    end: _Position = _BEGIN
    late: list[int] = []
    young: _Position | None = None
    missed: list[int] = []

    def next_walk(self) -> "_Walk":
        """The walk after this one, if this one ends here."""
        end = self.young or max(self.after, self.end)
        late = [transaction for transaction in self.missed if transaction <= end.transaction]
        after = min(end, _Position(late[0], "")) if late else end
        return _Walk(self.timeline, after, end, late)


async def _page(connection: Connection, cursor: str | None, before_ms: int, limit: int) -> RelayPage:
    """The page, from one snapshot."""
    snapshot = await connection.fetch_one("snapshot_of_walk")
    assert snapshot is not None
    walk = _walk_of(cursor, snapshot)
    scope = {
        "after_transaction": str(walk.after.transaction),
        "after_id": walk.after.task_id,
        "end_transaction": str(walk.end.transaction),
        "end_id": walk.end.task_id,
        "late": [str(transaction) for transaction in walk.late],
        "before": to_text(before_ms),
        "ahead": to_text(before_ms + DATED_AHEAD_MS),
    }
    rows = await connection.fetch_all("page_of_ledger", **scope, limit=limit)
    after = _Position(int(rows[-1]["written_in"]), rows[-1]["task_id"]) if rows else walk.after
    last = {"last_transaction": str(after.transaction), "last_id": after.task_id}
    young = await connection.fetch_value("first_too_young", **scope, **last)
    passed = max(after, walk.end).transaction
    running = {int(transaction) for transaction in snapshot["running"] if int(transaction) <= passed}
    walk = msgspec.structs.replace(
        walk,
        after=after,
        young=_Position(int(young), "") if walk.young is None and young is not None else walk.young,
        missed=sorted(running.union(walk.missed)),
    )
    entries = {row["task_id"]: _entry_of(row) for row in rows}
    next_walk = walk.next_walk()
    return RelayPage(
        entries=[entry for entry in entries.values() if entry is not None],
        odd=[OddTask(task_id, NO_ID) for task_id, entry in entries.items() if entry is None],
        next_cursor=_cursor_of(walk) if len(rows) == limit else None,
        resume_cursor=_cursor_of(next_walk) if next_walk.end != _BEGIN else None,
    )


def _walk_of(cursor: str | None, snapshot: Record) -> _Walk:
    """The walk that goes on at the cursor; a new one if the cursor's transactions are not this server's."""
    timeline, next_transaction = snapshot["timeline"], int(snapshot["next_transaction"])
    if cursor is not None:
        walk = msgspec.json.decode(cursor, type=_Walk)
        if walk.timeline == timeline and max(walk.after, walk.end).transaction < next_transaction:
            return walk
    return _Walk(timeline)


def _cursor_of(walk: _Walk) -> str:
    return msgspec.json.encode(walk).decode()


def _entry_of(row: Record) -> QueueEntry | None:
    return entry_of(row["task_id"].encode(), row["priority"], row["created_at"], row["due_at"])


def _task_of(row: Record) -> Task:
    data, *columns = row.values()
    return task_of([data.encode(), *columns])
