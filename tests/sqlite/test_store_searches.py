"""A search may take as long as it is allowed to, and no other read waits for it, whatever lies in the database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from everpost.errors import SearchTimeout, Unavailable
from everpost.redaction import Redactor
from everpost.store.history import TaskFilter, Total
from everpost.store.lists import words
from everpost.store.sqlite.care.care import SqliteCare
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.searches import SEARCHERS
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.history import SqliteHistory
from everpost.testing import eventually
from fair_time import fair_s
from sqlite.rows import accept, add_ended
from store_rows import make_task

FOREVER = "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n) SELECT sum(value) FROM n"
MEGABYTE = 1 << 20
JUNK: list[Any] = [[]] * (MEGABYTE // 3)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


def search_for_ever(connection: sqlite3.Connection) -> Any:
    return connection.execute(FOREVER).fetchone()


async def can_search(database: Database) -> bool:
    """Whether a connection for searches is free."""
    try:
        await database.search(lambda connection: connection.execute("SELECT 1").fetchone(), within_s=1)
    except SearchTimeout:
        return False
    return True


async def test_a_search_is_stopped_when_its_time_is_over(database: Database) -> None:
    for _ in range(SEARCHERS + 1):
        with pytest.raises(SearchTimeout, match=r"after 0\.05 s"):
            await database.search(search_for_ever, within_s=0.05)
    await eventually(lambda: can_search(database), what="a connection that is free again")


async def test_a_stopped_search_leaves_no_transaction_open(database: Database) -> None:
    def search(connection: sqlite3.Connection) -> Any:
        connection.execute("BEGIN")
        return search_for_ever(connection)

    for _ in range(SEARCHERS):
        with pytest.raises(SearchTimeout):
            await database.search(search, within_s=0.05)
    assert not await database.search(lambda connection: connection.in_transaction)


async def test_a_search_whose_caller_is_cancelled_is_stopped(database: Database) -> None:
    searches = [asyncio.create_task(database.search(search_for_ever, within_s=600)) for _ in range(SEARCHERS)]
    await eventually(lambda: has_begun(database, SEARCHERS), what="searches under way")
    for search in searches:
        search.cancel()
    await asyncio.wait(searches)
    assert all(search.cancelled() for search in searches)
    await eventually(lambda: can_search(database), what="a connection that is free again")


async def test_other_reads_do_not_wait_for_searches_but_searches_wait_for_their_turn(database: Database) -> None:
    searches = [asyncio.create_task(database.search(search_for_ever, within_s=600)) for _ in range(SEARCHERS + 3)]
    await eventually(lambda: has_begun(database, SEARCHERS), what="searches under way")
    assert await database.read(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)
    with pytest.raises(SearchTimeout):
        await database.search(search_for_ever, within_s=0.05)
    for search in searches:
        search.cancel()
    await asyncio.wait(searches)


async def test_a_database_closes_although_a_search_is_under_way(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "everpost.db")
    search = asyncio.create_task(database.search(search_for_ever, within_s=600))
    await eventually(lambda: has_begun(database, 1), what="a search under way")
    await database.close()
    with pytest.raises(Unavailable):
        await search


@pytest.mark.chaos
async def test_of_a_large_task_no_more_is_read_than_is_compared(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks of a megabyte of small arrays: each took 170 ms to search, 60 of them 10 s."""
    sizes: list[int] = []
    decode = words.texts_in

    def note(data: bytes, redactor: Redactor) -> str:
        sizes.append(len(data))
        return decode(data, redactor)

    monkeypatch.setattr("everpost.store.sqlite.lists.search.texts_in", note)
    waiting = [make_task(f"waiting{n}", description="Stollen é", junk=JUNK) for n in range(3)]
    ended = [make_task(f"ended{n}", description="Stollen é", junk=JUNK) for n in range(3)]
    assert all(len(task.task_data) > MEGABYTE for task in waiting)
    await accept(database, *waiting)
    await add_ended(database, *ended)
    listing = SqliteHistory(database)
    for _ in range(2):
        page = await listing.page(TaskFilter(q="stollen"), counted=True)
        assert {item.task_id for item in page.items} == {task.task_id for task in (*waiting, *ended)}
        assert page.total == Total(6, total_is_exact=True)
        await SqliteCare(database).fill_search()
    assert max(sizes) == words.MAX_DATA_BYTES


async def test_a_list_does_not_wait_for_one_that_looks_far(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    far = [TaskFilter(q="x"), TaskFilter(account_id="a"), TaskFilter(platform=("x",)), TaskFilter(error_class="auth")]
    far += [TaskFilter(status="failed", batch_id="b"), TaskFilter(retry_of="r", batch_id="b")]
    near = [TaskFilter(), TaskFilter(status="failed"), TaskFilter(batch_id="b"), TaskFilter(created_after_ms=1)]
    search, listing = database.search, SqliteHistory(database)
    searches = [asyncio.create_task(search(search_for_ever, within_s=600)) for _ in range(SEARCHERS)]
    await eventually(lambda: has_begun(database, SEARCHERS), what="searches under way")

    async def search_briefly(operation: Any, *, within_s: float, looks_far: bool) -> Any:
        return await search(operation, within_s=0.05 if looks_far else within_s, looks_far=looks_far)

    monkeypatch.setattr(database, "search", search_briefly)
    for wanted in near:
        await listing.page(wanted)
    for wanted in far:
        with pytest.raises(SearchTimeout):
            await listing.page(wanted)
    for waiting in searches:
        waiting.cancel()
    await asyncio.wait(searches)


async def test_no_list_keeps_a_task_from_being_looked_up(database: Database) -> None:
    """A page of 1,000 large tasks takes a while, too."""
    lists = [
        asyncio.create_task(database.search(search_for_ever, within_s=600, looks_far=looks_far))
        for looks_far in (True, False)
        for _ in range(SEARCHERS + 1)
    ]
    await eventually(lambda: has_begun(database, SEARCHERS), what="searches under way")
    await accept(database, make_task("wanted"))
    assert await SqliteHistory(database).find_task("wanted") is not None
    for waiting in lists:
        waiting.cancel()
    await asyncio.wait(lists)


async def test_the_time_limit_covers_the_wait_for_a_turn(database: Database) -> None:
    searches = [asyncio.create_task(database.search(search_for_ever, within_s=0.3)) for _ in range(3 * SEARCHERS)]
    began = fair_s()
    for search in searches:
        with pytest.raises(SearchTimeout):
            await search
    assert fair_s() - began < 3  # one after the other they would take far longer under load, too


async def has_begun(database: Database, searches: int) -> bool:
    return len(database._searches._running) == searches
