"""A database that was restored, or a standby that was promoted, is noticed: dispatch pauses, as after any restore."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from everpost.errors import Unavailable
from everpost.store import Store, open_store
from everpost.store.pause import end_pause, find_pause
from everpost.store.postgresql.care.lineage import Lineage, may_lack_commits, told_of
from everpost.store.postgresql.store import PostgresqlStore
from everpost.task.model import HELD, TaskStatus
from everpost.testing import eventually
from postgresql_server import PostgresqlServer, binaries, shared_server
from store_contract.making import accept, add_ended
from store_contract.test_operations import operation_of
from store_rows import START_MS, begin, make_task

NOW_MS = START_MS + 60_000
KNOWN = Lineage(system_identifier="7", timeline="00000001", database=5, tables=9, is_synchronous=False)


@pytest.mark.parametrize(
    ("changed", "was_synchronous", "may_lack"),
    [
        ({}, False, False),
        ({"is_synchronous": True}, False, False),
        ({"timeline": "00000002"}, False, True),
        ({"timeline": "00000002"}, True, False),
        ({"timeline": None}, False, False),
        ({"system_identifier": "8"}, True, True),
        ({"system_identifier": None}, False, False),
        ({"database": 6}, True, True),
        ({"tables": 10}, True, True),
    ],
)
def test_commits_may_be_missing_on_another_server_unless_a_standby_had_them_all(
    changed: dict[str, Any], was_synchronous: bool, may_lack: bool
) -> None:
    known = msgspec.structs.replace(KNOWN, is_synchronous=was_synchronous)
    assert may_lack_commits(known, msgspec.structs.replace(KNOWN, **changed)) is may_lack
    assert told_of(known, msgspec.structs.replace(KNOWN, **changed)).startswith("PostgreSQL (")


async def open_at(address: str) -> Store:
    return await open_store(address, clock=lambda: NOW_MS)


async def fill(store: Store) -> None:
    await accept(store, "waiting", "sending", make_task("later", due_at_ms=NOW_MS + 60_000))
    await add_ended(store, "ended")
    assert await store.ledger.begin_send("sending", 2, START_MS)
    await begin(store, operation_of("bulk"))


async def check_paused(store: Store, told: str) -> None:
    pause = await find_pause(store.meta)
    assert pause is not None
    assert told in pause.backup
    assert (pause.ended, pause.sending, pause.held, pause.scheduled, pause.operations) == (2, 1, 1, 1, 1)
    assert await store.held.page(None, 9) == (["waiting"], None)
    unknown = await store.history.find_task("sending")
    assert unknown is not None
    assert (unknown.status, unknown.attempts[-1]["number"]) == (TaskStatus.UNKNOWN, 2)
    later = await store.history.find_task("later")
    assert later is not None
    assert later.sending is None


@pytest.fixture
def whole_address() -> Iterator[str]:
    """The address of a database of its own, with Everpost's tables."""
    address = shared_server().new_database()
    yield address
    shared_server().drop(address)


def run(program: str, address: str, *arguments: str | Path) -> None:
    subprocess.run([binaries() / program, f"--dbname={address}", *arguments], check=True)


async def test_a_restored_dump_begins_paused_and_holds_what_may_have_been_sent(
    whole_address: str, tmp_path: Path
) -> None:
    store = await open_at(whole_address)
    await fill(store)
    await store.close()
    store = await open_at(whole_address)
    assert await find_pause(store.meta) is None
    await store.close()
    run("pg_dump", whole_address, "--format=custom", f"--file={tmp_path / 'dump'}")
    restored = shared_server().new_database(template="template0")
    run("pg_restore", restored, "--single-transaction", tmp_path / "dump")
    store = await open_at(restored)
    await check_paused(store, "a dump")
    await end_pause(store.meta)
    await store.close()
    store = await open_at(restored)
    assert await find_pause(store.meta) is None
    await store.close()
    shared_server().give_back(restored)


@pytest.fixture
async def server() -> AsyncIterator[PostgresqlServer]:
    server = PostgresqlServer.new()
    yield server
    server.remove()


async def test_a_process_that_finds_a_new_timeline_pauses_before_it_does_anything_else(
    server: PostgresqlServer,
) -> None:
    store = await open_at(server.address())
    await fill(store)
    server.stop()
    (server.data / "recovery.signal").touch()
    server.configure({"restore_command": "/bin/false"})
    server.start()  # it recovers to the end of its WAL, and becomes the primary of a new timeline

    async def is_paused() -> bool:
        try:
            return await find_pause(store.meta) is not None
        except Unavailable:
            return False

    await eventually(is_paused, what="the pause")
    await check_paused(store, "timeline 00000002 follows 00000001")
    await accept(store, "new")
    for send in (store.ledger.check_claims({"new": None}), store.ledger.begin_send("new", 1, NOW_MS)):
        with pytest.raises(Unavailable, match="everpost resume"):
            await send
    await end_pause(store.meta)
    assert (await store.ledger.check_claims({"waiting": None})).known["waiting"].sending == HELD
    assert await store.ledger.begin_send("new", 1, NOW_MS)
    await store.close()


@pytest.fixture
def standby(server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A synchronous standby of the server."""
    standby = server.new_standby("standby")
    set_synchronous(server, "standby")
    yield standby
    standby.remove()


def set_synchronous(server: PostgresqlServer, names: str) -> None:
    server.configure({"synchronous_standby_names": names})
    server.sql("SELECT pg_reload_conf()")


@pytest.mark.parametrize("is_synchronous", [True, False])
async def test_a_promotion_pauses_if_the_standby_was_synchronous_once_but_not_in_the_end(
    server: PostgresqlServer, standby: PostgresqlServer, *, is_synchronous: bool
) -> None:
    """Tools such as Patroni go on without a standby that is away, which never hears of that."""
    store = await open_at(f"postgresql://everpost@127.0.0.1:{server.port},127.0.0.1:{standby.port}/postgres")
    assert isinstance(store, PostgresqlStore)
    primary = store.database.primary
    await fill(store)
    if not is_synchronous:
        set_synchronous(server, "")

    async def has_noticed() -> bool:
        return primary.is_synchronous is is_synchronous

    await eventually(has_noticed, what="a look at the settings")
    server.stop(how=signal.SIGQUIT)
    await asyncio.to_thread(standby.promote)

    async def is_found() -> bool:
        return primary.server is not None and primary.server.timeline == "00000002"

    await eventually(is_found, what="the promoted server")
    assert (await find_pause(store.meta) is None) is is_synchronous
    await store.close()


@pytest.mark.parametrize("differing", [{"system_identifier": "8"}, {"timeline": "00000009"}, {"tables": 1}])
async def test_nothing_is_sent_on_another_server_before_a_process_has_noticed_it(
    whole_address: str, differing: dict[str, Any]
) -> None:
    """A pooler such as PgBouncer moves an open connection to another server."""
    store = await open_at(whole_address)
    await accept(store, "a")
    known = msgspec.json.decode(await store.meta.get("lineage") or "")
    await store.meta.set("lineage", msgspec.json.encode(known | differing).decode())
    with pytest.raises(Unavailable, match="Another PostgreSQL answers"):
        await store.ledger.begin_send("a", 1, NOW_MS)
    assert (await store.ledger.check_claims({"a": None})).known["a"].sending is None
    other = await open_at(whole_address)
    assert await find_pause(other.meta) is not None
    assert not await store.ledger.begin_send("a", 1, NOW_MS)
    assert (await store.ledger.check_claims({"a": None})).known["a"].sending == HELD
    await store.close()
    await other.close()


async def test_nothing_is_claimed_or_accepted_once_another_process_knows_a_newer_primary(whole_address: str) -> None:
    newest = "00000001"

    async def note(_cluster: str, timeline: str) -> str:
        return max(newest, timeline)

    store = await open_at(whole_address)
    store.care.share_timelines(note)
    await accept(store, "a")
    assert (await store.ledger.check_claims({"a": None})).known
    newest = "0000FFFF"
    for use in (store.ledger.check_claims({"a": None}), accept(store, "b")):
        with pytest.raises(Unavailable, match="lacks what came after"):
            await use
    newest = "00000001"
    await eventually(lambda: is_claimable(store, "a"), what="the primary that is the newest again")
    await store.close()


async def is_claimable(store: Store, task_id: str) -> bool:
    try:
        return bool((await store.ledger.check_claims({task_id: None})).known)
    except Unavailable:
        return False
