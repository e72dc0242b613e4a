"""The link while PostgreSQL fails: what was confirmed is there, what was refused is not, and work goes on by itself."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from types import ModuleType

import psycopg
import pytest

from chaos_kit.proxy import Proxy
from everpost.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnusable,
    DatabaseUnwritable,
    ServiceError,
    Unavailable,
    WriteUnconfirmed,
)
from everpost.store.postgresql.link import commits, session, transactions, waiting
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.statements import Sql
from everpost.testing import eventually
from postgresql.link_kit import ALL, add, opened, stored, write
from postgresql.link_load import PATIENCE_S, Writers, go_on, succeeds
from postgresql_server import FAST, PostgresqlServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """A server for this module alone, which its tests stop and start."""
    server = PostgresqlServer.new(FAST, max_connections="12")
    yield server
    server.remove()


def address_of(proxy: Proxy) -> str:
    """The address of the server behind a proxy."""
    return f"postgresql://everpost@127.0.0.1:{proxy.port}/postgres"


def kill(server: PostgresqlServer) -> None:
    server.signal_all(signal.SIGKILL)
    server.start()


def shut_down(server: PostgresqlServer) -> None:
    server.stop(how=signal.SIGINT)
    server.start()


def shut_down_at_once(server: PostgresqlServer) -> None:
    server.stop(how=signal.SIGQUIT)
    server.start()


def end_sessions(server: PostgresqlServer) -> None:
    others = "pid <> pg_backend_pid() AND backend_type = 'client backend'"
    server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


@pytest.mark.parametrize(
    "interrupt",
    [
        kill,
        end_sessions,
        pytest.param(shut_down, marks=pytest.mark.chaos),
        pytest.param(shut_down_at_once, marks=pytest.mark.chaos),
    ],
)
async def test_what_was_confirmed_is_there_after_an_interruption_and_what_was_refused_is_not(
    server: PostgresqlServer, interrupt: Callable[[PostgresqlServer], None]
) -> None:
    async with opened(server.address()) as database:

        async def is_well() -> bool:
            return database.trouble is None

        writers = Writers(database)
        async with writers.at_work():
            await writers.go_on()
            await asyncio.to_thread(interrupt, server)
            await writers.go_on()
            await eventually(is_well, what="an answer without trouble")  # one to an earlier commit may come late
        found = set(await stored(database))
        assert found.issuperset(writers.confirmed)
        assert found.isdisjoint(writers.refused)
        assert len(writers.unknown) < len(writers.confirmed)


def take_all_connections(server: PostgresqlServer) -> list[psycopg.Connection]:
    """Connect until the server refuses."""
    taken: list[psycopg.Connection] = []
    with suppress(psycopg.OperationalError):
        while True:
            taken.append(psycopg.connect(server.address()))
    return taken


async def test_too_many_connections_are_waited_for(server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(server.address()) as database:
        monkeypatch.setattr(waiting, "WRITE_S", 1.0)
        end_sessions(server)
        taken = take_all_connections(server)
        try:
            with pytest.raises(Unavailable, match="too many clients"):
                await write(database, "a")
            with pytest.raises(DatabaseUnwritable, match="too many clients"):
                await write(database, "b")
        finally:
            for each in taken:
                each.close()
        monkeypatch.undo()
        await go_on(database, "c")
        assert "b" not in await stored(database)


async def test_a_server_that_became_read_only_is_given_up_until_it_can_be_written(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(server.address()) as database:
        await write(database, "a")
        monkeypatch.setattr(waiting, "WRITE_S", 1.0)
        try:
            server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
            server.sql("SELECT pg_reload_conf()")
            async with asyncio.timeout(PATIENCE_S):  # it reads its settings a moment later
                for number in count():
                    if not await succeeds(write(database, f"b{number}")):
                        break
            with pytest.raises(DatabaseUnwritable, match="read-only"):
                await database.write(lambda connection: add(connection, "c"))
        finally:
            with psycopg.connect(server.address(), autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                connection.execute("SELECT pg_reload_conf()")
        monkeypatch.undo()
        await go_on(database, "d")
        assert "c" not in await stored(database)


async def test_a_frozen_server_is_given_up_in_time_and_used_again_once_it_answers(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(server.address()) as database:
        monkeypatch.setattr(waiting, "WRITE_S", 0.6)
        monkeypatch.setattr(session, "CONNECT_S", 0.2)
        monkeypatch.setattr(session, "CLOSE_S", 0.1)
        server.signal_all(signal.SIGSTOP)
        try:
            with pytest.raises(WriteUnconfirmed):
                await write(database, "a")
            with pytest.raises(Unavailable):
                await database.read(lambda connection: connection.fetch_all(ALL), within_s=0.3)
        finally:
            server.signal_all(signal.SIGCONT)
        monkeypatch.undo()
        await go_on(database, "b")


@pytest.fixture
async def proxy(server: PostgresqlServer) -> AsyncIterator[Proxy]:
    """A proxy before the server."""
    async with Proxy(server.socket_path).serving() as proxy:
        yield proxy


def at_first(monkeypatch: pytest.MonkeyPatch, module: ModuleType, action: Callable[[], object]) -> None:
    """Do something before the module sends its next write or COMMIT."""
    actions = [action]

    def reach(name: str) -> None:
        if name == "commit.before" and actions:
            actions.pop()()

    monkeypatch.setattr(module, "failpoint", reach)


async def test_rows_whose_answer_was_lost_are_written_once_and_answered(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(address_of(proxy)) as database:
        await write(database, "0")  # prepares the statement, which has an answer too
        at_first(monkeypatch, commits, proxy.cut_next_reply)
        answer = await write(database, "a", "b")
        assert sorted(record["task_id"] for record in answer) == ["a", "b"]
        assert await stored(database) == ["0", "a", "b"]


class Work:
    """A transaction that adds a row, and counts how often it runs."""

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self, connection: Connection) -> str:
        self.runs += 1
        await add(connection, f"run {self.runs}")
        return f"run {self.runs}"


async def test_a_transaction_whose_commit_was_not_answered_is_found_committed(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(address_of(proxy)) as database:
        at_first(monkeypatch, transactions, proxy.cut_next_reply)
        assert await database.write(Work()) == "run 1"
        assert await stored(database) == ["run 1"]


async def test_a_transaction_whose_commit_did_not_arrive_is_repeated(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(address_of(proxy)) as database:
        at_first(monkeypatch, transactions, proxy.cut)
        assert await database.write(Work()) == "run 2"
        assert await stored(database) == ["run 2"]


async def test_a_transaction_is_not_taken_for_another_one_that_got_its_id_after_a_crash(
    server: PostgresqlServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash() -> None:
        proxy.cut()  # the COMMIT does not arrive, and nothing of the transaction is on the disk
        kill(server)
        for number in range(20):
            server.sql(f"INSERT INTO link_rows VALUES ('other {number}')")

    async with opened(address_of(proxy)) as database:
        at_first(monkeypatch, transactions, crash)
        with pytest.raises(WriteUnconfirmed, match="crashed"):
            await database.write(Work())
        assert "run 1" not in await stored(database)


async def test_a_commit_of_which_nothing_can_be_learned_is_unconfirmed(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(address_of(proxy)) as database:
        monkeypatch.setattr(waiting, "WRITE_S", 0.5)
        monkeypatch.setattr(commits, "COMMIT_S", 0.5)
        monkeypatch.setattr(session, "CONNECT_S", 0.2)
        with ExitStack() as cuts:
            at_first(monkeypatch, transactions, lambda: cuts.enter_context(proxy.cutting_replies(0)))
            with pytest.raises(WriteUnconfirmed):
                await database.write(Work())
        monkeypatch.undo()
        assert isinstance(database.trouble, WriteUnconfirmed)
        assert await stored(database) == ["run 1"]


@pytest.mark.parametrize(
    ("sqlstate", "meaning"),
    [
        ("53100", DatabaseUnwritable),  # disk_full
        ("53200", DatabaseUnwritable),  # out_of_memory
        ("58030", DatabaseUnwritable),  # io_error
        ("55P03", DatabaseBusy),  # lock_not_available
        ("57014", DatabaseBusy),  # query_canceled
        ("XX001", DatabaseDamaged),  # data_corrupted
        ("XX002", DatabaseDamaged),  # index_corrupted
        ("42501", DatabaseUnusable),  # insufficient_privilege
    ],
)
async def test_an_error_of_the_server_is_told_by_its_meaning(
    database: Database, monkeypatch: pytest.MonkeyPatch, sqlstate: str, meaning: type[ServiceError]
) -> None:
    monkeypatch.setattr("everpost.store.postgresql.link.database.FULL_S", 0.0)
    fail = Sql(f"DO $$ BEGIN RAISE 'no more' USING ERRCODE = '{sqlstate}'; END $$")
    with pytest.raises(ServiceError) as raised:
        await database.write(lambda connection: connection.run_script(fail))
    assert type(raised.value) is meaning
    assert type(database.trouble) is meaning
    await write(database, "a")
    assert database.trouble is None


async def test_a_disk_stays_full_for_a_while_although_a_small_write_finds_room(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everpost.store.postgresql.link.database.FULL_S", 0.2)
    fail = Sql("DO $$ BEGIN RAISE 'no more' USING ERRCODE = '53100'; END $$")
    with pytest.raises(DatabaseUnwritable):
        await database.write(lambda connection: connection.run_script(fail))
    await write(database, "small")
    assert trouble_of(database) is not None
    async with asyncio.timeout(PATIENCE_S):
        for number in count():
            await write(database, f"more {number}")
            if trouble_of(database) is None:
                break


def trouble_of(database: Database) -> ServiceError | None:
    return database.trouble


async def test_a_table_that_is_not_there_makes_the_database_unusable(database: Database) -> None:
    with pytest.raises(DatabaseUnusable, match="nothing_here"):
        await database.read(lambda connection: connection.fetch_all(Sql("SELECT a FROM nothing_here")))
