"""Lists and searches on PostgreSQL: they stop in the server when no client waits for them, and long words are found."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from everpost.errors import SearchTimeout
from everpost.store import Store
from everpost.store.history import TaskFilter
from everpost.store.postgresql.lists import finder, search
from everpost.store.postgresql.lists.search import MAX_WORD, document_of
from everpost.task.place import Place
from everpost.testing import eventually
from postgresql.kit import PostgresqlKit
from store_contract.making import accept, add_ended
from store_contract.test_search import FOUND, TEXTS, found
from store_rows import ids, make_task


@contextmanager
def unreadable(address: str) -> Iterator[None]:
    """While it lasts, each read of the history waits."""
    with psycopg.connect(address) as connection:
        connection.execute("LOCK TABLE publish_tasks IN ACCESS EXCLUSIVE MODE")
        yield


async def waiting(kit: PostgresqlKit) -> int:
    return await asyncio.to_thread(kit.count_waiting)


async def test_a_list_that_takes_too_long_is_stopped_in_the_server(
    store: Store, kit: PostgresqlKit, address: str
) -> None:
    await add_ended(store, "a")
    with unreadable(address):
        with pytest.raises(SearchTimeout):
            await store.history.page_ids(TaskFilter(), within_s=0.3)
        with pytest.raises(SearchTimeout):
            await store.history.total(TaskFilter(account_id="a"), within_s=0.3)
        await eventually(lambda: _is_none(kit), what="no statement that waits")
    assert ids((await store.history.page(TaskFilter())).items) == ["a"]


async def test_a_list_whose_caller_has_gone_is_stopped_in_the_server(
    store: Store, kit: PostgresqlKit, address: str
) -> None:
    await add_ended(store, "a")
    with unreadable(address):
        listing = asyncio.create_task(store.history.page(TaskFilter(q="测试")))
        await eventually(lambda: _is_one(kit), what="a statement that waits")
        listing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listing
        await eventually(lambda: _is_none(kit), what="no statement that waits")
    assert ids((await store.history.page(TaskFilter())).items) == ["a"]


async def _is_none(kit: PostgresqlKit) -> bool:
    return await waiting(kit) == 0


async def _is_one(kit: PostgresqlKit) -> bool:
    return await waiting(kit) == 1


@pytest.mark.parametrize("is_indexed", [True, False])
async def test_a_typed_query_is_found_among_many_hits(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_indexed: bool
) -> None:
    """With more than `FEW` hits, each row of a list is looked up among them."""
    monkeypatch.setattr(search, "FEW", 0)
    monkeypatch.setattr(finder, "FEW", 0)
    for name, text in TEXTS.items():
        await add_ended(store, make_task(name, title=text))
    assert not is_indexed or await store.care.fill_search() == len(TEXTS)
    assert {q: await found(store, q) for q in FOUND} == FOUND


async def test_words_longer_than_the_index_keeps_are_told_apart(store: Store) -> None:
    long = "x" * MAX_WORD
    for name in ("y", "z"):
        await add_ended(store, make_task(name, title=f"begin {long}{name} end"))
    await store.care.fill_search()
    for q, expected in ((f"{long}y", {"y"}), (f"{long}z end", {"z"}), (long, {"y", "z"}), (f"{long}a", set())):
        assert await found(store, q) == expected


async def test_a_megabyte_of_different_words_is_indexed_and_its_beginning_found(store: Store) -> None:
    """PostgreSQL's full-text type holds less than a megabyte, and 16,383 positions."""
    ideographs = "".join(chr(0x4E00 + number * 7919 % 20_900) for number in range(200_000))
    symbols = "".join(chr(0x20000 + number % 40_000) for number in range(200_000))
    words = " ".join(f"w{number}" for number in range(150_000))
    for name, text in (("ideographs", ideographs), ("symbols", symbols), ("words", words)):
        await add_ended(store, make_task(name, description=text))
    assert await store.care.fill_search() == 3
    assert await found(store, ideographs[500:540]) == {"ideographs"}
    assert await found(store, symbols[500:540]) == {"symbols"}
    assert await found(store, "w1999") == {"words"}
    assert await found(store, "w149999") == set()  # only so much of a text is searched


def test_an_index_entry_stays_below_postgresql_s_limit() -> None:
    text = "".join(chr(0x10000 + number * 31 % 60_000) for number in range(200_000))
    _, vector = document_of({"title": text, "error_message": "\ufdfa" * 50_000, "data": None})
    assert len(vector.encode()) < 1 << 20


async def test_a_status_of_waiting_tasks_is_listed_wherever_they_are(store: Store, kit: PostgresqlKit) -> None:
    """No index has it, because an attempt changes it; the search begins at the oldest."""
    await accept(store, *(f"t{number}" for number in range(6)))
    for task_id in ("t0", "t5"):
        assert await store.ledger.begin_send(task_id, 1, 0)
    kit.change(Place.LEDGER, "t3", status="odd", accepted_by=None)
    for limit in (1, 10):
        seen, cursor = [], None
        while True:
            page = await store.history.page(TaskFilter(status="running"), cursor, limit, counted=True)
            seen += ids(page.items)
            assert page.total is not None
            assert page.total.total == 2
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == ["t5", "t0"]
    assert ids((await store.history.page(TaskFilter(status="odd"))).items) == ["t3"]
