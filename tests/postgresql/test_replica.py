"""Lists are read from a standby that is close behind the primary; whatever is wrong with it, from the primary."""

import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import pytest_asyncio

from everpost.store import Store, open_store
from everpost.store.history import Page, TaskFilter
from everpost.store.postgresql.link import replica
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import SNAPSHOT
from everpost.store.postgresql.link.statements import Sql
from everpost.store.postgresql.link.transactions import Work
from everpost.testing import eventually, everpost_stack
from postgresql_server import PostgresqlServer
from store_contract.making import accept, add_ended
from store_rows import ids, make_task

MOST_LAG_S = 0.6
LOOK = Sql("SELECT count(*) FROM task_queue")


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresqlServer]:
    server = PostgresqlServer.new({"fsync": "off", "max_standby_streaming_delay": "0"})
    yield server
    server.remove()


@pytest.fixture(scope="module")
def standby(primary: PostgresqlServer) -> Iterator[PostgresqlServer]:
    server = primary.new_standby("replica")
    yield server
    server.remove()


@pytest.fixture
def address(primary: PostgresqlServer, standby: PostgresqlServer) -> Iterator[str]:
    primary.sql("CREATE DATABASE tasks TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    yield f"postgresql://everpost@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/tasks"
    primary.sql("DROP DATABASE tasks WITH (FORCE)")


@pytest_asyncio.fixture
async def store(address: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(replica, "REST_S", 0)
    monkeypatch.setattr(replica, "ANSWER_S", 5.0)  # the machine may be busy
    store = await open_store(address, replica_lag_s=MOST_LAG_S)
    await accept(store, "a")
    await add_ended(store, make_task("b", title="findable"))
    yield store
    await store.close()


async def page_from_standby(store: Store, wanted: TaskFilter = TaskFilter()) -> Page:  # noqa: B008 - it is frozen
    """A page, once a standby answers it."""

    async def page() -> Page | None:
        found = await store.history.page(wanted, counted=True)
        return found if found.lag_s is not None else None

    found = await eventually(page)
    assert found is not None
    return found


async def test_lists_and_searches_come_from_the_standby_and_tell_how_old_they_may_be(store: Store) -> None:
    async def has_both() -> bool:
        return ids((await page_from_standby(store)).items) == ["b", "a"]

    await eventually(has_both)
    found = await page_from_standby(store, TaskFilter(q="findable"))
    assert ids(found.items) == ["b"]
    assert found.total is not None
    assert found.total.total == 1
    assert found.lag_s is not None
    assert 0 <= found.lag_s <= MOST_LAG_S


async def test_what_is_decided_from_is_read_from_the_primary(store: Store, standby: PostgresqlServer) -> None:
    await page_from_standby(store)
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        await accept(store, "new")
        assert await store.history.find_task("new") is not None
        assert (await store.history.page_ids(TaskFilter()))[0] == ["new", "b", "a"]
        assert (await store.history.summary()).total == (await store.history.total(TaskFilter())).total == 3
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")


async def test_a_standby_that_is_too_far_behind_is_not_read(store: Store, standby: PostgresqlServer) -> None:
    await page_from_standby(store)
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        await accept(store, "new")

        async def is_from_primary() -> bool:
            found = await store.history.page(TaskFilter())
            assert found.lag_s is not None or ids(found.items) == ["new", "b", "a"]
            return found.lag_s is None

        await eventually(is_from_primary)
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")
    assert ids((await page_from_standby(store)).items) == ["new", "b", "a"]


async def test_a_standby_that_is_frozen_delays_a_list_by_a_moment(
    store: Store, standby: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await page_from_standby(store)
    monkeypatch.setattr(replica, "ANSWER_S", 0.2)
    monkeypatch.setattr(replica, "REST_S", 60)
    standby.signal_all(signal.SIGSTOP)
    try:
        assert (await store.history.page(TaskFilter())).lag_s is None
        assert (await store.history.page(TaskFilter())).lag_s is None
    finally:
        standby.signal_all(signal.SIGCONT)


async def test_a_list_that_the_standby_breaks_off_is_read_from_the_primary(
    store: Store, primary: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby ends reads that the primary's log cannot wait for."""
    await page_from_standby(store)
    original = replica.Replica.read

    async def broken_off(self: replica.Replica, work: Work[Page], within_s: float) -> tuple[Page, float] | None:
        async def until_conflict(connection: Connection) -> Page:
            await work(connection)
            await connection.run_script(SNAPSHOT)
            await connection.fetch_all(LOOK)
            primary.sql("BEGIN; LOCK TABLE task_queue IN ACCESS EXCLUSIVE MODE; COMMIT", "tasks")
            while True:
                await connection.fetch_all(LOOK)

        return await original(self, until_conflict, within_s)

    monkeypatch.setattr(replica.Replica, "read", broken_off)
    found = await store.history.page(TaskFilter())
    assert (ids(found.items), found.lag_s) == (["b", "a"], None)


async def test_the_api_says_how_old_a_list_may_be_and_knows_a_task_at_once(store: Store, address: str) -> None:
    del store  # it has made the tables, which the standby needs
    async with everpost_stack(
        database=address, replica_lag=MOST_LAG_S, redis="redis://127.0.0.1:1/0", workers=0
    ) as stack:

        async def lag(path: str) -> str:
            answer = await stack.client.get(f"/api/v1/tasks{path}")
            assert answer.status_code == 200
            return str(answer.headers.get("Everpost-Replica-Lag", ""))

        assert 0 <= float(await eventually(partial(lag, ""))) <= MOST_LAG_S
        assert 0 <= float(await eventually(partial(lag, "/logs/recent"))) <= MOST_LAG_S
        body = {"platform": "douyin", "account_id": "a", "file_id": 1, "title": "t"}
        posted = await stack.client.post("/api/v1/publish", json=body)
        assert posted.status_code == 202
        shown = await stack.client.get(f"/api/v1/tasks/{posted.json()['task_id']}")
        assert shown.status_code == 200
        assert "Everpost-Replica-Lag" not in shown.headers
