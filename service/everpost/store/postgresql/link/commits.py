"""Group commit: the rows that concurrent callers write with one statement go out as one statement."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from everpost.errors import DatabaseBusy, DatabaseUnusable, DatabaseUnwritable, ServiceError, WriteUnconfirmed
from everpost.failpoints import failpoint
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.faults import LinkLost, StatementRefused, TransactionUndone
from everpost.store.postgresql.link.primary import Primary
from everpost.store.postgresql.link.session import Session
from everpost.store.postgresql.link.sessions import Sessions
from everpost.store.postgresql.link.transactions import commit, confirm, left, transact
from everpost.store.postgresql.link.waiting import PATIENCE_S, Rows, Transaction, WaitingWrites

WRITERS = 2
TURNS = 2  # of the event loop, before a writer takes what waits: what has arrived already comes along
COMMIT_S = 1.0  # at least, to find out what became of a commit
PAUSES_S = (0.02, 0.5)  # the first and the longest between two tries
TROUBLE = (DatabaseBusy, DatabaseUnwritable, DatabaseUnusable, WriteUnconfirmed)
UNIQUE = "23505"  # unique_violation


class Commits:
    """Writes for concurrent callers on a few sessions, without waiting for more of them.

    A free writer takes everything that waits for one statement, so an idle database is written to at once, and a busy
    one in large statements. Requests that have reached this process at the same time are written together. One writer
    at a time writes the rows of a statement (see `WaitingWrites`).

    Args:
        on_result: Called after each write with the trouble, or None if it was committed.
    """

    def __init__(self, primary: Primary, on_result: Callable[[ServiceError | None], None]) -> None:
        self._primary = primary
        self._sessions = Sessions(primary, WRITERS)
        self._on_result = on_result
        self._waiting = WaitingWrites()
        self._writers: set[asyncio.Task[None]] = set()
        self._help: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """The number of writes that no writer has taken yet."""
        return len(self._waiting)

    async def submit(self, write: Rows | Transaction) -> Any:
        """Have it written; what the statement returned for these rows, or the transaction's answer.

        Cancelling the caller does not stop a write that has begun.
        """
        if self._is_closed:
            raise DatabaseUnwritable("it is closed")
        if self._waiting.put(write):
            self._begin_writer()
        elif self._help is None:
            self._help_later()
        return await write.answer

    def _begin_writer(self) -> None:
        if len(self._writers) < WRITERS:
            writer = asyncio.create_task(self._write_waiting())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)  # also if it is cancelled before it begins

    def _help_later(self) -> None:
        self._help = asyncio.get_running_loop().call_later(PATIENCE_S, self._help_out)

    def _help_out(self) -> None:
        """Begin a writer for rows that wait for a statement which waits for a lock."""
        self._help = None
        if self._waiting:
            self._begin_writer()
            self._help_later()

    async def close(self) -> None:
        """Write what was submitted, then close the sessions."""
        self._is_closed = True
        while self._writers:
            await asyncio.wait(self._writers)
        if self._help is not None:
            self._help.cancel()
        await self._sessions.close()

    async def _write_waiting(self) -> None:
        try:
            while (taken := await self._next()) is not None:
                try:
                    await (self._run(taken) if isinstance(taken, Transaction) else self._write(taken))
                finally:
                    self._waiting.written(taken)
        finally:
            # At once, because the callback runs later: a caller that was just answered may write again before that,
            # and would take this for a writer that looks once more.
            self._writers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _next(self) -> list[Rows] | Transaction | None:
        """The next writes that a writer may take, or None. If memory is lacking, every caller that waits is told."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        try:
            return self._waiting.take()
        except BaseException as error:  # noqa: BLE001 - otherwise they would wait for ever
            self._fail(self._waiting.take_all(), error)
            return None

    async def _write(self, group: Sequence[Rows]) -> None:
        """Write rows of several callers with one statement. If it is refused, each half is written by itself."""
        try:
            await self._write_in_time(group)
        except StatementRefused as error:
            if len(group) == 1:
                self._fail(group, error)
                return
            middle = len(group) // 2
            await self._write(group[:middle])
            await self._write(group[middle:])
        except BaseException as error:  # noqa: BLE001 - each caller raises it itself
            self._fail(group, error)

    async def _write_in_time(self, group: Sequence[Rows]) -> None:
        reason: Exception = TimeoutError()
        for pause_s in _pauses():
            group = self._still_waiting(group, reason)
            if not group:
                return
            try:
                async with self._sessions.lent(min(rows.until_s for rows in group)) as session:
                    records = await _execute(session, group)
            except (LinkLost, TransactionUndone) as error:
                reason = error
                await _pause(pause_s, min(rows.until_s for rows in group))
            else:
                self._on_result(None)
                _give(group, records)
                return

    def _still_waiting(self, group: Sequence[Rows], reason: Exception) -> list[Rows]:
        """Those whose time has not run out; the others are told what is known."""
        now_s = time.monotonic()
        for rows in group:
            if rows.until_s <= now_s:
                error = WriteUnconfirmed(str(reason)) if rows.may_be_written else _not_written(reason)
                self._fail([rows], error)
        return [rows for rows in group if not rows.answer.done()]

    async def _run(self, transaction: Transaction) -> None:
        try:
            await self._run_in_time(transaction)
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            self._fail([transaction], error)

    async def _run_in_time(self, transaction: Transaction) -> None:
        reason: Exception = TimeoutError()
        may_begin_until_s = transaction.begin_s
        for pause_s in _pauses():
            if transaction.answer.done():
                return
            if time.monotonic() > may_begin_until_s:
                raise _not_written(reason)
            try:
                async with self._sessions.lent(transaction.until_s) as session:
                    may_begin_until_s = transaction.until_s
                    answer, xid = await transact(session, transaction.work, transaction.statement_s)
                    until_s = max(transaction.until_s, time.monotonic() + COMMIT_S)
                    await commit(session, xid, self._primary, until_s)
            except (LinkLost, TransactionUndone) as error:
                reason = error
                await _pause(pause_s, may_begin_until_s)
            else:
                if xid is not None:
                    self._on_result(None)
                if not transaction.answer.done():
                    transaction.answer.set_result(answer)
                return

    def _fail(self, writes: Iterable[Rows | Transaction], error: BaseException) -> None:
        if isinstance(error, TROUBLE):  # a rule's refusal says nothing about the database
            self._on_result(error)
        for write in writes:
            if not write.answer.done():
                write.answer.set_exception(error)


def _pauses() -> Iterator[float]:
    pause_s, longest_s = PAUSES_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, longest_s)


async def _pause(pause_s: float, until_s: float) -> None:
    await asyncio.sleep(min(pause_s, max(0.0, until_s - time.monotonic())))


def _not_written(reason: Exception) -> ServiceError:
    """The error for writes whose time ran out before they could be sent, or that were undone again and again."""
    return DatabaseUnwritable(str(reason)) if isinstance(reason, LinkLost) else DatabaseBusy()


async def _execute(session: Session, group: Sequence[Rows]) -> list[Record]:
    """Run the statement of a group.

    Raises:
        LinkLost: The rows may be written.
        TransactionUndone: This time, they were not.
    """
    until_s = min(rows.until_s for rows in group)
    again = any(rows.may_be_written for rows in group)
    failpoint("commit.before")
    try:
        records = await Connection(session, left(until_s)).write_rows(
            group[0].next_statement, (row for rows in group for row in rows.values)
        )
        if again or session.is_unreplicated:
            await confirm(session, left(until_s))
    except LinkLost as error:
        for rows in group:
            rows.may_be_written = rows.may_be_written or not error.is_refusal
        raise
    except StatementRefused as error:
        if again and error.sqlstate == UNIQUE:  # the first time was not over when this one began
            raise TransactionUndone(str(error)) from error
        raise
    failpoint("commit.after")
    return records


def _give(group: Sequence[Rows], records: list[Record]) -> None:
    """Give each caller the records of its rows, unless it has given up."""
    by_id: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_id[record["task_id"]].append(record)
    for rows in group:
        if not rows.answer.done():
            rows.answer.set_result([record for task_id in rows.ids for record in by_id[task_id]])
