"""Search finds what a person typed, in any script, also in rows that are not indexed yet."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost import pace
from everpost.store.history import TaskFilter
from everpost.store.lists.words import MAX_QUERY_CHARACTERS, read_query
from everpost.store.sqlite.care.care import SqliteCare
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.lists import finder, search
from everpost.store.sqlite.lists.history import SqliteHistory
from sqlite.rows import add_ended, remove, select
from store_contract.test_search import FOUND, TEXTS
from store_rows import ids, make_task


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


async def found(database: Database, q: str, **others: object) -> set[str]:
    listing = SqliteHistory(database, UTC)
    wanted = TaskFilter(q=q, **others)  # type: ignore[arg-type]  # a test's own fields
    items = (await listing.page(wanted, limit=1_000)).items
    assert (await listing.total(wanted)).total == len(items)
    return set(ids(items))


async def test_a_typed_query_is_found_among_many_hits(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (search, finder):
        monkeypatch.setattr(module, "FEW", 0)
    for name, text in TEXTS.items():
        await add_ended(database, make_task(name, title=text))
    assert await SqliteCare(database).fill_search() == len(TEXTS)
    assert {q: await found(database, q) for q in FOUND} == FOUND


async def test_the_index_is_filled_once_by_however_many_processes(database: Database, tmp_path: Path) -> None:
    await add_ended(database, *(make_task(f"{number}") for number in range(7)))
    other = await Database.open(tmp_path / "everpost.db")
    first, second = SqliteCare(database), SqliteCare(other)
    after, documents = await first._next(3)
    assert await second.fill_search(5) == 5
    assert not await first._add(after, documents)
    assert await first.fill_search(100) == 2
    assert await first.fill_search(100) == 0
    assert await select(database, "SELECT count(*) FROM publish_tasks_search") == [(7,)]
    await other.close()


async def test_few_long_texts_are_indexed_in_one_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """250 of them blocked writes for seconds."""
    await add_ended(database, *(make_task(f"{number}", description="word " * 4_000) for number in range(60)))
    monkeypatch.setattr(pace, "STEP_S", 0)  # every step is too long
    sizes: list[int] = []
    index = SqliteCare(database)
    add = index._add

    async def note(after: int, documents: Sequence[tuple[int, str]]) -> bool:
        sizes.append(len(documents))
        return await add(after, documents)

    monkeypatch.setattr(index, "_add", note)
    assert await index.fill_search() == 60
    assert sizes == [pace.FIRST, *[pace.LEAST] * 5, 60 - pace.FIRST - 5 * pace.LEAST]


async def test_an_archived_task_is_not_found_and_leaves_the_index(database: Database) -> None:
    await add_ended(database, make_task("kept"), make_task("gone"), make_task("early"))
    index = SqliteCare(database)
    after, documents = await index._next(10)
    await remove(database, "early")
    assert await index._add(after, documents)
    await remove(database, "gone")
    assert await found(database, "测试") == {"kept"}
    assert await select(database, "SELECT count(*) FROM publish_tasks_search WHERE text MATCH '测'") == [(1,)]


@given(st.text(max_size=MAX_QUERY_CHARACTERS))
def test_each_phrase_of_a_query_is_quoted_once(typed: str) -> None:
    query = read_query(typed)
    assert search.expression_of(query).count('"') == 2 * len(query.phrases)
