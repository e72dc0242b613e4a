"""The ledger as the relay walks through it. Row numbers are the cursor: they follow the commits."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from everpost.clock import from_text, to_text
from everpost.store.relay import (
    DATED_AHEAD_MS,
    MayBeSent,
    OddTask,
    RelayPage,
    RunnableTasks,
    SetAside,
    StuckError,
)
from everpost.store.sqlite.file.connection import snapshot
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.tasks.odd_rows import MOST_DATA_BYTES, NO_ID, fault_of_data, readable_id, set_aside_row
from everpost.task.model import DEFAULT_PRIORITY, PRIORITIES, QueueEntry, Task

ODD = "?"  # for a malformed `accepted_by`: None would mean an inherited row


class SqliteRelay:
    """See `everpost.store.relay.Relay`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, cursor: str | None, before_ms: int, limit: int) -> RelayPage:
        """See `Relay.page`."""
        return await self._database.read(lambda connection: _page(connection, _position(cursor), before_ms, limit))

    async def runnable(self, task_ids: Collection[str]) -> RunnableTasks:
        """See `Relay.runnable`."""
        parameters = {"task_ids": msgspec.json.encode(list(task_ids)).decode(), "most": MOST_DATA_BYTES}
        rows = await self._database.read(
            lambda connection: connection.execute(load("runnable_tasks"), parameters).fetchall()
        )
        faults = {row: fault for row, size_bytes, *_ in rows if (fault := fault_of_data(size_bytes)) is not None}
        return RunnableTasks(
            tasks=[_task_of(columns) for row, _, *columns in rows if row not in faults],
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
    read = [(row, _entry_of(*columns)) for row, *columns in rows]
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


def _entry_of(task_id: bytes | None, priority: Any, created_at: Any, due_at: Any) -> QueueEntry | None:
    """The entry of a row; None if its id cannot be read."""
    name = readable_id(task_id)
    if name is None:
        return None
    return QueueEntry(
        task_id=name,
        priority=_priority_of(priority),
        created_at_ms=_time_of(created_at) or 0,
        due_at_ms=_time_of(due_at),
    )


def _priority_of(value: Any) -> int:
    """A row's priority. A malformed one counts as the default, because it must not keep the row from running."""
    return value if isinstance(value, int) and value in PRIORITIES else DEFAULT_PRIORITY


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _time_of(value: Any) -> int | None:
    """A row's time; None if it is malformed: another program wrote it, and the row is due at once."""
    try:
        return from_text(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _task_of(row: Sequence[Any]) -> Task:
    """The task in a row of `runnable_tasks.sql`, as it goes to Redis. Malformed values are left out."""
    data, task_id, priority, due_at, retry_of, root_id, generation, batch_id, *rest = row
    platform, account_id, title, created_at, accepted_by = rest
    return Task(
        task_id=task_id,
        task_data=data,
        platform=_text_of(platform) or "",
        account_id=_text_of(account_id) or "",
        title=_text_of(title) or "",
        priority=_priority_of(priority),
        created_at_ms=_time_of(created_at) or 0,
        due_at_ms=_time_of(due_at),
        retry_of=_text_of(retry_of),
        root_id=_text_of(root_id),
        generation=generation if isinstance(generation, int) else 0,
        batch_id=_text_of(batch_id),
        accepted_by=_text_of(accepted_by) or ODD,
    )
