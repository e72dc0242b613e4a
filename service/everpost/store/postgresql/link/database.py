"""PostgreSQL for the verbs: reads, transactions and grouped writes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import asyncpg
import msgspec

from everpost.errors import DatabaseBusy, DatabaseUnwritable, ServiceError
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.faults import LinkLost, TransactionUndone, meaning_of

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]
"""Uses the connection. It may run several times, so it may change nothing but the database."""

READERS = 4
WRITERS = 2


class Database:
    """This process's connections to PostgreSQL.

    Attributes:
        submitted: The number of writes this process has asked for.
        waiting: The number of writes that wait for a connection.
        trouble: Why the last write failed, if the database was at fault; None after another write was committed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.submitted = 0
        self.waiting = 0
        self.trouble: ServiceError | None = None
        self._readers: asyncio.LifoQueue[asyncpg.Connection | None] = asyncio.LifoQueue()
        self._writers: asyncio.LifoQueue[asyncpg.Connection | None] = asyncio.LifoQueue()
        for _ in range(READERS):
            self._readers.put_nowait(None)
        for _ in range(WRITERS):
            self._writers.put_nowait(None)

    @classmethod
    async def open(cls, address: str) -> Self:
        """Connect.

        Raises:
            DatabaseUnwritable: The server does not answer.
        """
        return cls(address)

    async def read(self, work: Work[T]) -> T:
        """Run `work` on one connection. Each of its statements sees everything that was committed before it.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        async with self._lent(self._readers) as raw:
            return await work(Connection(raw))

    async def snapshot(self, work: Work[T]) -> T:
        """Run `work` so that all of its statements see the database at one moment."""
        async with self._lent(self._readers) as raw, raw.transaction(isolation="repeatable_read", readonly=True):
            return await work(Connection(raw))

    async def write(self, work: Work[T], *, within_s: float | None = None) -> T:
        """Run `work` in one READ COMMITTED transaction; its result, once that is committed.

        Args:
            within_s: If it does not begin within this time, it is not run, and the database counts as busy.

        Raises:
            StatementRefused: The data break a rule of the database; nothing was written.
            DatabaseBusy: Others kept the rows locked for too long; nothing was written.
            DatabaseUnwritable: No primary is reachable, or its disk is full; nothing was written.
            WriteUnconfirmed: It cannot be told whether it was written.
        """
        self.submitted += 1
        for _ in range(5):
            try:
                async with self._lent(self._writers, within_s) as raw, raw.transaction():
                    return await work(Connection(raw))
            except TransactionUndone:
                continue
        raise DatabaseBusy

    async def write_rows(self, statement: str, rows: Sequence[Mapping[str, Any]]) -> list[Record]:
        """Have `statement` write rows; what it returns for them, once they are committed.

        The statement takes the rows of several callers at once, as a JSON list in `:rows`, and must be repeatable: if
        the connection is lost, the same rows are sent again. It has a RETURNING with the column `task_id`, and so has
        each row: a caller gets the returned rows with its own task ids. Rows with one task id never come together.

        Raises the errors of `write`; a row that is refused concerns its own caller only.
        """
        if not rows:
            return []
        self.submitted += 1
        text = msgspec.json.encode(rows).decode()
        async with self._lent(self._writers) as raw:
            return await Connection(raw).fetch_all(statement, rows=text)

    async def close(self) -> None:
        """Commit submitted writes, then close every connection."""
        for pool, count in ((self._writers, WRITERS), (self._readers, READERS)):
            for _ in range(count):
                raw = await pool.get()
                if raw is not None:
                    await raw.close()

    @asynccontextmanager
    async def _lent(
        self, pool: "asyncio.LifoQueue[asyncpg.Connection | None]", within_s: float | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool; it is dropped if it breaks."""
        try:
            raw = await asyncio.wait_for(pool.get(), within_s)
        except TimeoutError:
            raise DatabaseBusy from None
        try:
            if raw is None or raw.is_closed():
                raw = await asyncpg.connect(self.address)
            yield raw
        except LinkLost as error:
            raise DatabaseUnwritable(str(error)) from error
        except Exception as error:
            meaning = meaning_of(error)
            if isinstance(meaning, LinkLost):
                raise DatabaseUnwritable(str(error)) from error
            raise meaning from error
        finally:
            pool.put_nowait(raw)
