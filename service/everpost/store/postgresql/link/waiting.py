"""What callers want written, until a writer takes it."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from everpost.store.postgresql.link.transactions import Work

WRITE_S = 4.5  # a caller is answered after about this time, whatever happens; many clients wait for 5 s
MOST_ROWS = 512  # in one statement
PATIENCE_S = 0.1


class Rows:
    """Rows of one caller for a statement.

    Attributes:
        values: Each row, as the statement's type has its columns; the first is the task's id.
        until_s: The caller gets an answer by about this time (monotonic).
        may_be_written: They were sent before, and the answer was lost, so they may be in the database.
    """

    __slots__ = ("_again", "answer", "count", "ids", "may_be_written", "statement", "until_s", "values")

    def __init__(
        self,
        statement: str,
        rows: Sequence[tuple[Any, ...]],
        again: str | None = None,
        until_s: float = math.inf,
    ) -> None:
        self.statement = statement
        self._again = again or statement
        self.values = rows
        self.count = len(rows)
        self.ids = frozenset(task_id for task_id, *_ in rows)
        self.until_s = min(until_s, time.monotonic() + WRITE_S)
        self.may_be_written = False
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def next_statement(self) -> str:
        """The statement that writes them now."""
        return self._again if self.may_be_written else self.statement


class Transaction:
    """A caller's transaction.

    Attributes:
        begin_s: The latest time at which it may begin (monotonic).
        statement_s: The longest time of each of its statements.
    """

    __slots__ = ("answer", "begin_s", "statement_s", "until_s", "work")

    def __init__(
        self,
        work: Work[Any],
        within_s: float | None = None,
        statement_s: float | None = None,
        until_s: float = math.inf,
    ) -> None:
        self.work = work
        self.statement_s = statement_s
        now_s = time.monotonic()
        self.until_s = min(until_s, now_s + WRITE_S)
        self.begin_s = self.until_s if within_s is None else now_s + within_s
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class WaitingWrites:
    """Writes in a fair order: every statement's rows, and the transactions, have their turn.

    While one writer writes rows of a statement, more rows for it gather, so they need fewer statements and commits. If
    that takes longer than `PATIENCE_S`, because a row is locked, another writer takes what has gathered.
    """

    def __init__(self) -> None:
        self._by_statement: OrderedDict[str, deque[Any]] = OrderedDict()  # the next one's turn is first
        self._count = 0
        self._written_since_s: dict[str, float] = {}  # by statement: when a writer took rows of it

    def __len__(self) -> int:
        return self._count

    def put(self, write: Rows | Transaction) -> bool:
        """Add a write; whether a writer may take it at once."""
        name = write.statement if isinstance(write, Rows) else ""
        if name in self._by_statement:
            self._by_statement[name].append(write)
        else:
            self._by_statement[name] = deque([write])
        self._count += 1
        return self._may_take(name)

    def take(self) -> list[Rows] | Transaction | None:
        """Take the next writes out: rows for one statement, with different task ids; or one transaction.

        None if no writer may take any now. What was taken must be passed to `written`, whatever becomes of it. If this
        fails, for lack of memory, all writes are still here.
        """
        name = next(filter(self._may_take, self._by_statement), None)
        if name is None:
            return None
        writes = self._by_statement[name]
        taken: list[Rows] | Transaction = writes[0]
        if name:
            taken = _writable_together(writes)
            self._written_since_s[name] = time.monotonic()
        for _ in range(len(taken) if isinstance(taken, list) else 1):
            self._remove_first(name)
        if writes:
            self._by_statement.move_to_end(name)
        return taken

    def written(self, taken: list[Rows] | Transaction) -> None:
        """Note that a writer is done with what it took."""
        if isinstance(taken, list):
            self._written_since_s.pop(taken[0].statement, None)

    def take_all(self) -> Iterator[Rows | Transaction]:
        """Take every write out, one by one; this needs no more memory."""
        while self._by_statement:
            yield self._remove_first(next(iter(self._by_statement)))

    def _may_take(self, name: str) -> bool:
        since_s = self._written_since_s.get(name)
        return since_s is None or time.monotonic() - since_s > PATIENCE_S

    def _remove_first(self, name: str) -> Rows | Transaction:
        writes = self._by_statement[name]
        write: Rows | Transaction = writes.popleft()
        self._count -= 1
        if not writes:
            del self._by_statement[name]
        return write


def _writable_together(writes: Iterable[Rows]) -> list[Rows]:
    """The first ones that one statement can write."""
    taken: list[Rows] = []
    count, ids = 0, set[str]()
    for rows in writes:
        if taken and (count + rows.count > MOST_ROWS or not ids.isdisjoint(rows.ids)):
            break
        taken.append(rows)
        count += rows.count
        ids |= rows.ids
    return taken
