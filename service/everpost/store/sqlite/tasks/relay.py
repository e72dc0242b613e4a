"""The ledger as the relay walks through it. Row numbers are the cursor: they follow the commits."""

from collections.abc import Collection

import msgspec

from everpost.clock import to_text
from everpost.store.odd_rows import MOST_DATA_BYTES, NO_ID, entry_of, fault_of_data, task_of
from everpost.store.relay import DATED_AHEAD_MS, MayBeSent, OddTask, RelayPage, RunnableTasks, SetAside, StuckError
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.odd_rows import set_aside_row


class SqliteRelay:
    """See `everpost.store.relay.Relay`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, cursor: str | None, before_ms: int, limit: int) -> RelayPage:
        """See `Relay.page`."""
        return await self._database.read(lambda connection: _page(connection, _position(cursor), before_ms, limit))

    async def runnable(self, task_ids: Collection[str]) -> RunnableTasks:
        """See `Relay.runnable`."""
        return await self._runnable("runnable_tasks", task_ids)

    async def callbacks(self, task_ids: Collection[str]) -> RunnableTasks:
        """See `Relay.callbacks`."""
        return await self._runnable("find_callbacks", task_ids)

    async def _runnable(self, statement: str, task_ids: Collection[str]) -> RunnableTasks:
        parameters = {"task_ids": msgspec.json.encode(list(task_ids)).decode(), "most": MOST_DATA_BYTES}
        rows = await self._database.read(lambda connection: connection.execute(load(statement), parameters).fetchall())
        faults = {row: fault for row, size_bytes, *_ in rows if (fault := fault_of_data(size_bytes)) is not None}
        return RunnableTasks(
            tasks=[task_of(columns) for row, _, *columns in rows if row not in faults],
            odd=[OddTask(str(row), fault) for row, fault in faults.items()],
        )

    async def set_aside(self, odd: OddTask, rule: MayBeSent, now_ms: int) -> SetAside | None:
        """See `Relay.set_aside`."""
        try:
            return await self._database.write(
                lambda connection: set_aside_row(connection, int(odd.token), odd.fault, rule, now_ms)
            )
        except sqlite3.Error as error:
            raise StuckError(str(error)) from error


class _Position(msgspec.Struct, frozen=True):
    """How far a walk has come, as row numbers.

    Attributes:
        after: The last row that was looked at.
        resume: The row behind which the next walk begins, if this one passed a row that was too young for it.
    """

    after: int = 0
    resume: int | None = None


def _page(connection: sqlite3.Connection, position: _Position, before_ms: int, limit: int) -> RelayPage:
    times = {"before": to_text(before_ms), "ahead": to_text(before_ms + DATED_AHEAD_MS)}
    with snapshot(connection):
        rows = connection.execute(load("page_of_ledger"), times | {"after": position.after, "limit": limit}).fetchall()
        last = rows[-1][0] if rows else position.after
        span = {"after": position.after, "last": last}
        (young,) = connection.execute(load("first_too_young"), times | span).fetchone()
    resume = young - 1 if position.resume is None and young is not None else position.resume
    begin = last if resume is None else resume
    read = [(row, entry_of(*columns)) for row, *columns in rows]
    return RelayPage(
        entries=[entry for _, entry in read if entry is not None],
        odd=[OddTask(str(row), NO_ID) for row, entry in read if entry is None],
        next_cursor=_cursor(_Position(last, resume)) if len(rows) == limit else None,
        resume_cursor=_cursor(_Position(begin)) if begin else None,
    )


def _cursor(position: _Position) -> str:
    return f"{position.after}" if position.resume is None else f"{position.after}.{position.resume}"


def _position(cursor: str | None) -> _Position:
    after, _, resume = (cursor or "0").partition(".")
    return _Position(int(after), int(resume) if resume else None)
