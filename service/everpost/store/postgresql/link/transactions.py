"""Runs writes on a session: rows in one statement, and transactions whose outcome is always found out."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from everpost.errors import ServiceError, WriteUnconfirmed
from everpost.failpoints import failpoint
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.faults import LinkLost, TransactionUndone
from everpost.store.postgresql.link.primary import Primary
from everpost.store.postgresql.link.session import Session
from everpost.store.postgresql.link.statements import Sql

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]
"""Uses the connection. It may run several times, so it may change nothing but the database."""

LOCK_WAIT_S = 2.0  # for rows that another transaction has locked; then the database counts as busy
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {lock_wait_ms:d}"
COMMIT, ROLLBACK = Sql("COMMIT"), Sql("ROLLBACK")
LEAST_S = 0.25  # for a statement whose caller has waited long
LOOK_AGAIN_S = 0.1  # at a transaction that PostgreSQL has not ended yet


async def confirm(session: Session, within_s: float) -> None:
    """Have everything that was committed before replicated, if PostgreSQL is set up so; this may take until it is.

    A wait for the synchronous standby can be cancelled, by a time limit or by a person. Then PostgreSQL reports
    success: the commit is on the primary, but a failover may lose it. A later commit that is replicated proves that
    the earlier one is.

    Raises:
        LinkLost: It is not replicated yet.
    """
    session.is_unreplicated = False
    await Connection(session, within_s).fetch_all("confirm_commits")
    if session.is_unreplicated:
        raise LinkLost("the synchronous standby does not answer")


async def transact(session: Session, work: Work[T], statement_s: float | None) -> tuple[T, str | None]:
    """Run `work` in a transaction, and leave it open; its answer, and the transaction's id unless it wrote nothing.

    Raises:
        LinkLost, TransactionUndone: Nothing was written, and it can be repeated.
    """
    connection = Connection(session, statement_s)
    await connection.run_script(Sql(BEGIN.format(lock_wait_ms=int(LOCK_WAIT_S * 1_000))))
    try:
        answer = await work(connection)
        return answer, await connection.fetch_value("transaction_id")
    except LinkLost:
        raise
    except BaseException:
        await connection.run_script(ROLLBACK)
        raise


async def commit(session: Session, xid: str | None, primary: Primary, until_s: float) -> None:
    """Commit the open transaction. If the connection is lost meanwhile, ask the server what became of it.

    A transaction that wrote nothing may have seen what others committed and the standby lacks. Its answer may rest on
    that, so it waits for the standby, too.

    Raises:
        LinkLost: It wrote nothing, and can be repeated.
        TransactionUndone: It was not committed, and can be repeated.
        WriteUnconfirmed: It cannot be told, or it was not replicated.
    """
    failpoint("commit.before")
    try:
        tag = await Connection(session, left(until_s)).run_script(COMMIT)
        if tag != "COMMIT":  # an error was swallowed before
            raise AssertionError(f"PostgreSQL answered COMMIT with {tag}")
        if session.is_unreplicated or (xid is None and primary.is_synchronous):
            await confirm(session, left(until_s))
    except LinkLost as error:
        primary.lose(session, error)
        if xid is None:
            raise
        await _find_out(xid, session, primary, until_s, error)
    failpoint("commit.after")


async def _find_out(xid: str, lost: Session, primary: Primary, until_s: float, error: LinkLost) -> None:
    """Return if the transaction was committed.

    Its id tells that only while the server runs. A server that recovers after a crash, or a promoted standby, may never
    have seen the transaction in the WAL, and give its id to another one.
    """
    reason = str(error)
    while time.monotonic() < until_s:
        try:
            session = await primary.connect()
        except (LinkLost, ServiceError) as refusal:
            reason = str(refusal)
            await asyncio.sleep(LOOK_AGAIN_S)
            continue
        try:
            if (session.server, session.recovered_at) != (lost.server, lost.recovered_at):
                raise WriteUnconfirmed(f"the server crashed, or another one is the primary now, after: {error}")
            status = await Connection(session, left(until_s)).fetch_value("transaction_status", xid=xid)
            if status == "committed":
                await confirm(session, left(until_s))
                return
            if status == "aborted":
                raise TransactionUndone(str(error))
        except LinkLost as again:
            reason = str(again)
            primary.lose(session, again)
        finally:
            await session.close()
        await asyncio.sleep(LOOK_AGAIN_S)
    raise WriteUnconfirmed(reason)


def left(until_s: float) -> float:
    """The time until then in seconds; a server that is alive gets some in any case."""
    return max(LEAST_S, until_s - time.monotonic())
