"""A primary and a standby: the link finds the one that was promoted, and confirms only what was replicated."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count

import pytest
import pytest_asyncio

from everpost.errors import DatabaseUnwritable, Unavailable, WriteUnconfirmed
from everpost.store import Store, open_store
from everpost.store.ledger import FirstAnswer, Once
from everpost.store.postgresql.link import commits, session, waiting
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.session import Session
from everpost.testing import eventually
from fair_time import fair_s
from postgresql.link_kit import ALL, add, opened, stored, write
from postgresql.link_load import Writers, go_on, succeeds
from postgresql.pair import STANDBY, PostgresqlPair
from postgresql_server import PostgresqlServer
from store_contract.making import once_of
from store_rows import START_MS, make_task

FOUND_WITHIN_S = 10


@pytest.fixture
def pair() -> Iterator[PostgresqlPair]:
    """Two servers for one test."""
    primary = PostgresqlServer.new()
    pair = PostgresqlPair(primary, primary.new_standby(STANDBY))
    yield pair
    pair.remove()


@pytest_asyncio.fixture
async def database(pair: PostgresqlPair) -> AsyncIterator[Database]:
    """The link to the pair."""
    async with opened(pair.address) as database:
        yield database


async def test_writers_find_the_promoted_standby_and_never_go_back_to_the_old_primary(
    pair: PostgresqlPair, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WRITE_S", 1.0)
    writers = Writers(database)
    async with writers.at_work():
        await writers.go_on()
        await pair.caught_up()
        pair.primary.signal_all(signal.SIGKILL)
        await asyncio.to_thread(pair.standby.promote)
        promoted_s = fair_s()
        await writers.go_on()
        assert fair_s() - promoted_s < FOUND_WITHIN_S
        pair.primary.start()  # it does not know that it was replaced, and accepts writes
        before = pair.primary.sql("SELECT count(*) FROM link_rows")
        pair.standby.stop(how=signal.SIGINT)
        with pytest.raises(Unavailable):  # also while only the old one answers
            await write(database, "lost")
        await asyncio.to_thread(pair.standby.start)
        await writers.go_on()
    assert pair.primary.sql("SELECT count(*) FROM link_rows") == before
    assert set(await stored(database)).issuperset(writers.confirmed[-40:])


async def test_a_process_without_work_notices_a_promotion(pair: PostgresqlPair, database: Database) -> None:
    seen: asyncio.Queue[Session] = asyncio.Queue()
    database.primary.on_other = seen.put
    await pair.caught_up()
    pair.primary.stop(how=signal.SIGINT)
    await asyncio.to_thread(pair.standby.promote)
    async with asyncio.timeout(60):
        assert (await seen.get()).server.timeline == "00000002"


async def test_reads_leave_a_demoted_primary_with_the_first_write_that_notices(
    pair: PostgresqlPair, database: Database
) -> None:
    await go_on(database, "before")
    await pair.caught_up()
    pair.standby.promote()
    pair.primary.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    pair.primary.sql("SELECT pg_reload_conf()")
    async with asyncio.timeout(60):
        for number in count():
            await succeeds(write(database, f"after {number}"))
            if pair.standby.sql("SELECT 1 FROM link_rows WHERE task_id LIKE 'after%'"):
                break
    assert f"after {number}" in await stored(database)


async def test_everything_confirmed_is_on_a_synchronous_standby(pair: PostgresqlPair, database: Database) -> None:
    pair.make_synchronous()
    writers = Writers(database)
    async with writers.at_work():
        await writers.go_on(100)
        pair.primary.signal_all(signal.SIGKILL)
        await asyncio.to_thread(pair.standby.promote)
        await writers.go_on()
    assert set(await stored(database)).issuperset(writers.confirmed)


async def test_nothing_is_confirmed_while_the_synchronous_standby_is_silent(
    pair: PostgresqlPair, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WRITE_S", 1.5)
    monkeypatch.setattr(commits, "COMMIT_S", 0.2)
    monkeypatch.setattr(session, "CLOSE_S", 0.2)
    pair.make_synchronous()
    await go_on(database, "before")

    async def is_synchronous() -> bool:
        return database.primary.is_synchronous

    await eventually(is_synchronous, timeout_s=60, what="the synchronous standby")
    pair.standby.signal_all(signal.SIGSTOP)
    try:
        with pytest.raises(WriteUnconfirmed):
            await write(database, "rows")
        with pytest.raises(WriteUnconfirmed):
            await database.write(lambda connection: add(connection, "transaction"))
        with pytest.raises(Unavailable, match="answer"):
            await database.write(lambda connection: connection.fetch_all(ALL))  # what it saw may be lost
    finally:
        pair.standby.signal_all(signal.SIGCONT)
    await go_on(database, "after")


async def test_a_repeated_key_is_answered_only_once_the_standby_has_its_task(
    pair: PostgresqlPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(pair.address)
    pair.make_synchronous()
    await store.ledger.accept([make_task("before")], START_MS)
    monkeypatch.setattr(waiting, "WRITE_S", 0.6)
    monkeypatch.setattr(commits, "COMMIT_S", 0.2)
    monkeypatch.setattr(session, "CLOSE_S", 0.2)
    pair.standby.signal_all(signal.SIGSTOP)
    once = once_of()
    try:
        for _ in range(2):  # the second finds the first one's row
            await is_unconfirmed(lambda: store.ledger.accept([make_task("first")], START_MS, once))
        await is_unconfirmed(lambda: store.ledger.find_answer(once.key))
    finally:
        pair.standby.signal_all(signal.SIGCONT)
    assert await eventually(lambda: found_answer(store, once), what="an answer") == once.answer
    await store.close()
    await pair.caught_up()
    assert pair.standby.sql("SELECT count(*) FROM task_queue WHERE task_id = 'first'") == [(1,)]


async def is_unconfirmed(ask: Callable[[], Awaitable[object]]) -> None:
    """Check that this is not confirmed. A busy machine may have no connection in time; then ask again."""

    async def is_so() -> bool:
        try:
            with pytest.raises(WriteUnconfirmed):
                await ask()
        except DatabaseUnwritable:
            return False
        return True

    await eventually(is_so)


async def found_answer(store: Store, once: Once) -> FirstAnswer | None:
    try:
        return await store.ledger.find_answer(once.key)
    except Unavailable:
        return None


async def cancel_commit(pair: PostgresqlPair) -> None:
    """Cancel a commit that waits for the standby."""
    cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

    async def is_cancelled() -> bool:
        return bool(pair.primary.sql(cancel))

    await eventually(is_cancelled, timeout_s=60)


@pytest.mark.parametrize("by_rows", [True, pytest.param(False, marks=pytest.mark.chaos)])
async def test_a_commit_whose_wait_was_cancelled_is_confirmed_only_once_it_is_replicated(
    pair: PostgresqlPair, database: Database, monkeypatch: pytest.MonkeyPatch, *, by_rows: bool
) -> None:
    monkeypatch.setattr(waiting, "WRITE_S", 30.0)  # a busy machine may cancel late
    pair.make_synchronous()
    await go_on(database, "before")
    pair.standby.signal_all(signal.SIGSTOP)
    put = write(database, "a") if by_rows else database.write(lambda connection: add(connection, "a"))
    writing: asyncio.Task[object] = asyncio.create_task(put)
    try:
        await cancel_commit(pair)
        await cancel_commit(pair)  # of the commit that is to confirm the first one
        assert not writing.done()
    finally:
        pair.standby.signal_all(signal.SIGCONT)
    await writing
    await pair.caught_up()
    assert pair.standby.sql("SELECT count(*) FROM link_rows WHERE task_id = 'a'") == [(1,)]
