"""PostgreSQL for the verbs: reads, transactions and grouped writes."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar, cast

from everpost.database_address import PostgresqlAddress
from everpost.errors import SearchTimeout, ServiceError, Unavailable
from everpost.store.history import SEARCH_S
from everpost.store.postgresql.link.commits import Commits
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.faults import LinkLost, is_disk_full
from everpost.store.postgresql.link.primary import Primary
from everpost.store.postgresql.link.replica import Replica
from everpost.store.postgresql.link.sessions import Sessions
from everpost.store.postgresql.link.statements import Sql
from everpost.store.postgresql.link.transactions import Work, left
from everpost.store.postgresql.link.waiting import Rows, Transaction

T = TypeVar("T")

READERS = 2
SEARCHERS = 2  # for lists, and as many for searches that look far
READ_S = 4.5  # a caller is answered after about this time
STATEMENT_S = 4.0
LOOK_AGAIN_S = 0.1
FULL_S = 3.0  # a disk counts as full after a write that found no room
LOOK_EVERY_S = 1.0  # at the server behind an idle connection
LOOK_AT_OTHERS_EVERY_S = 2.0  # whether one was promoted; each host gets a new connection each time

SNAPSHOT, END = Sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), Sql("ROLLBACK")


class Database:
    """This process's connections to PostgreSQL.

    All of them lead to the primary. If it is lost, they are dropped, and the new primary is found among the hosts.

    Attributes:
        submitted: The number of writes this process has asked for.
        silence: Why there was no answer when the primary was looked at last; None if there was one.
        trouble: Why the last write failed, if the database was at fault; None after another write was committed.
    """

    def __init__(self, address: PostgresqlAddress, replica_lag_s: float = 0.0) -> None:
        self.address = address
        self.submitted = 0
        self.trouble: ServiceError | None = None
        self.silence: ServiceError | None = None
        self.primary = Primary(address)
        self._readers = Sessions(self.primary, READERS)
        self._lists, self._searches = Sessions(self.primary, SEARCHERS), Sessions(self.primary, SEARCHERS)
        self._replica = Replica(address, self.primary, replica_lag_s) if replica_lag_s else None
        self._commits = Commits(self.primary, self._note)
        self._full_until_s = 0.0
        self._watches: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, address: PostgresqlAddress, replica_lag_s: float = 0.0) -> Self:
        """Connect.

        Args:
            replica_lag_s: By how many seconds the answers of `search_replica` may be old; 0 asks no standby.

        Raises:
            Unavailable: No host is a primary that can be written.
            DatabaseUnusable: It refuses the login, or its settings would break a promise.
        """
        database = cls(address, replica_lag_s)
        try:
            await database.read(lambda connection: connection.fetch_all("identify_server"))
        except BaseException:
            await asyncio.shield(database.close())
            raise
        database._watches.append(asyncio.create_task(_repeat(database._look, LOOK_EVERY_S)))
        if database._replica is not None:
            database._watches.append(asyncio.create_task(_repeat(database._mark, database._replica.note_every_s)))
        if len(address.hosts) > 1:
            look = database.primary.look_for_newer
            database._watches.append(asyncio.create_task(_repeat(look, LOOK_AT_OTHERS_EVERY_S)))
        return database

    @property
    def waiting(self) -> int:
        """The number of writes that wait for a connection."""
        return self._commits.waiting

    async def read(self, work: Work[T], *, within_s: float = READ_S) -> T:
        """Run `work` on one connection. Each of its statements sees everything that was committed before it.

        It is repeated on another connection if the first is dead.

        Raises:
            Unavailable: PostgreSQL does not answer within the time.
        """
        return await self._read(self._readers, work, within_s)

    async def snapshot(self, work: Work[T]) -> T:
        """Run `work` so that all of its statements see the database at one moment."""
        return await self.read(lambda connection: _in_snapshot(connection, work))

    async def search(self, work: Work[T], *, within_s: float = SEARCH_S, looks_far: bool = True) -> T:
        """Run a read that may take long in a snapshot, on separate connections. It stops if the caller is cancelled.

        Args:
            looks_far: It may read many rows to find few. Other slow reads, such as a page of large tasks, have separate
                connections, and do not wait for these.

        Raises:
            SearchTimeout: It was not done after `within_s` seconds.
        """
        sessions = self._searches if looks_far else self._lists
        try:
            async with asyncio.timeout(within_s):
                return await self._read(sessions, lambda connection: _in_snapshot(connection, work), None)
        except TimeoutError:
            raise SearchTimeout(within_s) from None

    async def search_replica(self, work: Work[T], *, within_s: float = SEARCH_S) -> tuple[T, float] | None:
        """As `search`, on a standby: the result, and by how many seconds it may be old.

        None if there is no standby, or it is too far behind, does not answer, or had to break the search off.
        """
        if self._replica is None:
            return None
        return await self._replica.read(lambda connection: _in_snapshot(connection, work), within_s)

    async def _mark(self) -> None:
        assert self._replica is not None
        async with self._readers.lent() as session:
            await self._replica.note(session)

    async def _read(self, sessions: Sessions, work: Work[T], within_s: float | None) -> T:
        until_s = math.inf if within_s is None else time.monotonic() + within_s
        while True:
            try:
                async with sessions.lent(until_s) as session:
                    return await work(Connection(session, None if within_s is None else left(until_s)))
            except LinkLost as error:
                if time.monotonic() > until_s:
                    raise Unavailable(f"The database does not answer: {error}.") from error
                await asyncio.sleep(LOOK_AGAIN_S)

    async def write(
        self,
        work: Work[T],
        *,
        within_s: float | None = None,
        statement_s: float | None = STATEMENT_S,
        until_s: float = math.inf,
    ) -> T:
        """Run `work` in one READ COMMITTED transaction; its result, once that is committed.

        It is repeated after a deadlock, and if the connection is lost before the commit. If it is lost during the
        commit, PostgreSQL is asked whether it was committed.

        Args:
            within_s: If it does not begin within this time, it is not run, and the database counts as busy.
            statement_s: The longest time for each of its statements.
            until_s: The caller is answered by about this time (monotonic), and after about `WRITE_S` in any case.

        Raises:
            StatementRefused: The data break a rule of the database; nothing was written.
            DatabaseBusy: Others kept the rows locked for too long; nothing was written.
            DatabaseUnwritable: No primary is reachable, or its disk is full; nothing was written.
            WriteUnconfirmed: It cannot be told whether it was written.
        """
        self.submitted += 1
        return cast("T", await self._commits.submit(Transaction(work, within_s, statement_s, until_s)))

    async def write_rows(
        self,
        statement: str,
        rows: Sequence[tuple[Any, ...]],
        *,
        again: str | None = None,
        until_s: float = math.inf,
    ) -> list[Record]:
        """Have `statement` write rows; what it returns for them, once they are committed.

        The statement takes the rows of several callers at once, as the array `:rows` of a composite type whose first
        column is the `task_id`, and sorts them by their ids. No text has a NUL. It returns rows with the column
        `task_id`, and a caller gets those with its own ids. Rows with the same id never come together.

        Args:
            again: If the answer is lost, this statement takes the rows, or the same one. It returns what the first
                answer was, whether the first time had an effect or not. The first answer may have been lost a few
                seconds ago, and its tasks may have moved on.
            until_s: As for `write`.

        Raises the errors of `write`. A row that is refused concerns its own caller only.
        """
        if not rows:
            return []
        self.submitted += 1
        return cast("list[Record]", await self._commits.submit(Rows(statement, rows, again, until_s)))

    def _note(self, trouble: ServiceError | None) -> None:
        """Keep the trouble. A full disk stays one for some seconds: what fits into a page is written meanwhile."""
        now_s = time.monotonic()
        if is_disk_full(trouble):
            self._full_until_s = now_s + FULL_S
        if trouble is not None or now_s > self._full_until_s:
            self.trouble = trouble

    async def _look(self) -> None:
        """Look at the server: a process without work notices a failover too."""
        try:
            async with self._readers.lent() as session:
                await self.primary.check(session)
        except LinkLost as error:
            self.silence = Unavailable(f"The database does not answer: {error}.")
            raise
        self.silence = None

    async def close(self) -> None:
        """Commit submitted writes, then close every connection."""
        for watch in self._watches:
            watch.cancel()
            await asyncio.wait((watch,))
        await self._commits.close()
        await asyncio.gather(*(each.close() for each in (self._readers, self._lists, self._searches, self.primary)))
        if self._replica is not None:
            await self._replica.close()


async def _in_snapshot(connection: Connection, work: Work[T]) -> T:
    await connection.run_script(SNAPSHOT)
    try:
        return await work(connection)
    finally:
        await connection.run_script(END)


async def _repeat(look: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        with suppress(LinkLost, ServiceError):
            await look()
