"""The network between two parties is cut, without a word to either: no FIN, no RST, no answer."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chaos_kit.proxy import Proxy
from everpost.errors import ServiceError, Unavailable, WriteUnconfirmed
from everpost.store.postgresql.link import commits, database, session, sessions, waiting
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.session import KEEPALIVE
from everpost.store.postgresql.link.statements import Sql
from everpost.testing import eventually
from fair_time import fair_s
from postgresql.hosts import DatabaseHosts, database_hosts
from postgresql.link_kit import ALL, add, opened, stored, write
from postgresql.link_load import Writers, go_on
from postgresql_server import shared_server

FOUND_WITHIN_S = 10
SETTINGS = Sql("""
    SELECT name, setting FROM pg_settings
    WHERE name LIKE 'tcp_%' OR name = 'idle_in_transaction_session_timeout' ORDER BY name
""")


async def test_both_ends_ask_an_idle_peer_whether_it_is_there(database: Database) -> None:
    def options_of(connection: Connection) -> list[int]:
        client = connection._raw._transport.get_extra_info("socket")
        numbers = [getattr(socket, name) for name in KEEPALIVE]
        on = client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return [on, *(client.getsockopt(socket.IPPROTO_TCP, number) for number in numbers)]

    async def look(connection: Connection) -> tuple[list[int], dict[str, str]]:
        rows = await connection.fetch_all(SETTINGS)
        return options_of(connection), {row["name"]: row["setting"] for row in rows}

    client, server = await database.read(look)
    assert client == [1, *KEEPALIVE.values()]
    assert server == {
        "idle_in_transaction_session_timeout": "15000",
        "tcp_keepalives_count": "3",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_user_timeout": "10000",
    }


async def test_a_transaction_that_the_server_ended_because_its_client_hung_is_repeated(address: str) -> None:
    name = address.rpartition("/")[2]
    shared_server().server.sql(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '50ms'")
    ended = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state = 'idle in transaction'"
    runs = 0

    async def hang_at_first(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        await add(connection, f"run {runs}")
        while runs == 1 and shared_server().server.sql(ended.format(name)) != [(0,)]:
            time.sleep(0.01)  # noqa: ASYNC251 - the whole process hangs

    async with opened(address) as database:
        await database.write(hang_at_first)
        assert await stored(database) == ["run 2"]


async def test_a_primary_that_others_know_to_be_replaced_is_given_up_until_they_do_not(database: Database) -> None:
    await write(database, "before")
    assert database.primary.server is not None
    own = database.primary.server.timeline or ""
    database.primary.use_none_before(own)
    await write(database, "as usual")
    database.primary.use_none_before("0000FFFF")
    with pytest.raises(ServiceError, match="lacks what came after"):
        await database.write(lambda connection: add(connection, "refused"), within_s=0.3)
    with pytest.raises(Unavailable, match="lacks what came after"):
        await database.read(lambda connection: connection.fetch_all(ALL), within_s=0.3)
    database.primary.use_none_before(own)
    after = await go_on(database, "after")
    assert await stored(database) == [after, "as usual", "before"]


@pytest_asyncio.fixture
async def hosts() -> AsyncIterator[DatabaseHosts]:
    """Two servers and two proxies for one test."""
    async with database_hosts() as hosts:
        yield hosts


@pytest_asyncio.fixture
async def linked(hosts: DatabaseHosts) -> AsyncIterator[Database]:
    """The link to the hosts."""
    async with opened(hosts.address) as database:
        yield database


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wait be short."""
    for module, name, value in (
        *((waiting, "WRITE_S", 0.8), (commits, "COMMIT_S", 0.2), (session, "CONNECT_S", 0.3)),
        *((session, "CLOSE_S", 0.1), (database, "LOOK_EVERY_S", 0.2), (database, "LOOK_AT_OTHERS_EVERY_S", 0.2)),
    ):
        monkeypatch.setattr(module, name, value)


async def look(linked: Database, within_s: float) -> object:
    return await linked.read(lambda connection: connection.fetch_all(ALL), within_s=within_s)


async def test_clients_that_wait_for_a_session_are_told_in_time_too(address: str) -> None:
    server, name = shared_server().server, address.rpartition("/")[2]
    async with (
        Proxy(server.socket_path).serving() as proxy,
        opened(f"postgresql://everpost@127.0.0.1:{proxy.port}/{name}") as linked,
    ):
        await look(linked, database.READ_S)
        with proxy.black_hole():
            begun_s = fair_s()
            answers = await asyncio.gather(*(look(linked, 0.5) for _ in range(60)), return_exceptions=True)
            assert fair_s() - begun_s < 60 / database.READERS * sessions.LEAST_S / 2  # not one after the other
            assert {type(answer) for answer in answers} == {Unavailable}
        assert await look(linked, FOUND_WITHIN_S) == []


@pytest.mark.parametrize("is_quick", [True, pytest.param(False, marks=pytest.mark.chaos)])
async def test_clients_that_are_cut_off_from_the_primary_are_told_in_time_and_go_on_when_they_are_not(
    address: str, monkeypatch: pytest.MonkeyPatch, *, is_quick: bool
) -> None:
    within_s = database.READ_S
    if is_quick:
        quicken(monkeypatch)
        within_s = 0.5
    server, name = shared_server().server, address.rpartition("/")[2]
    async with (
        Proxy(server.socket_path).serving() as proxy,
        opened(f"postgresql://everpost@127.0.0.1:{proxy.port}/{name}") as linked,
    ):
        writers = Writers(linked)
        async with writers.at_work():
            await writers.go_on()
            with proxy.black_hole():
                for work in (write(linked, "cut"), look(linked, within_s)):
                    begun_s = fair_s()
                    with pytest.raises(Unavailable):
                        await work
                    assert fair_s() - begun_s < FOUND_WITHIN_S
            healed_s = fair_s()
            await writers.go_on()
            assert fair_s() - healed_s < FOUND_WITHIN_S
            proxy.cut()
            await writers.go_on()
        found = set(await stored(linked))
    assert found.issuperset(writers.confirmed)
    assert found.isdisjoint(writers.refused)


@pytest.mark.parametrize("is_quick", [True, pytest.param(False, marks=pytest.mark.chaos)])
async def test_clients_that_are_cut_off_from_the_primary_go_to_the_promoted_standby_at_once(
    hosts: DatabaseHosts, linked: Database, monkeypatch: pytest.MonkeyPatch, *, is_quick: bool
) -> None:
    """What hangs at the old one is sent again to the new one, instead of waiting for its time limit."""
    if is_quick:
        quicken(monkeypatch)
    monkeypatch.setattr(waiting, "WRITE_S", 30.0)
    writers = Writers(linked)
    async with writers.at_work():
        await writers.go_on()
        await hosts.caught_up()  # so that the standby has the table
        with hosts.to_primary.black_hole(), hosts.between.black_hole():
            await hosts.promote()
            promoted_s = fair_s()
            await writers.go_on()
            assert fair_s() - promoted_s < FOUND_WITHIN_S
    assert not writers.refused
    assert set(await stored(linked)).issuperset(writers.confirmed[-40:])


async def test_a_primary_that_still_answers_is_left_once_another_was_promoted(
    hosts: DatabaseHosts, linked: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old primary is cut off from the standby only, so it accepts writes that are lost later."""
    quicken(monkeypatch)
    before = await go_on(linked, "before")
    await hosts.caught_up()
    with hosts.between.black_hole():
        await hosts.promote()

        async def has_moved() -> bool:
            return linked.primary.server is not None and linked.primary.server.timeline == "00000002"

        await eventually(has_moved, timeout_s=60, what="the promoted server")
        after = await go_on(linked, "after")
    assert hosts.standby.sql("SELECT count(*) FROM link_rows WHERE task_id LIKE 'after%'") == [(0,)]
    assert {before, after} <= set(await stored(linked))


@pytest.mark.chaos
async def test_nothing_is_confirmed_while_the_synchronous_standby_is_cut_off(
    hosts: DatabaseHosts, linked: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken(monkeypatch)
    hosts.make_synchronous()
    await go_on(linked, "before")
    with hosts.between.black_hole():
        with pytest.raises(WriteUnconfirmed):
            await write(linked, "rows")
        with pytest.raises(WriteUnconfirmed):
            await linked.write(lambda connection: add(connection, "transaction"))
    await go_on(linked, "after")
