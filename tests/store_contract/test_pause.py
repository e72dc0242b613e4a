"""The pause's part of the contract: a person releases held tasks, once, and no others."""

import asyncio

import pytest

from everpost.store import Store
from everpost.store.pause import end_pause, find_pause
from everpost.task.model import HELD, TaskStatus
from everpost.task.place import Place
from store_contract.making import accept, add_ended, facts_of, record_of
from store_kit import StoreKit


@pytest.fixture
async def held(store: Store, kit: StoreKit) -> list[str]:
    """Held tasks, beside one that was accepted since and one that has ended."""
    task_ids = [f"held{number}" for number in range(5)]
    await accept(store, *task_ids, "new")
    await add_ended(store, "ended")
    for task_id in task_ids:
        kit.change(Place.LEDGER, task_id, sending=HELD)
    return task_ids


async def held_ids(store: Store, limit: int = 2) -> list[str]:
    """All held tasks, page by page."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = await store.held.page(cursor, limit)
        assert len(page) <= limit
        found += page
        if cursor is None:
            return found


async def test_a_store_that_was_not_restored_is_not_paused_and_holds_nothing(store: Store) -> None:
    await accept(store, "task")
    assert await find_pause(store.meta) is None
    assert (await store.held.count(), await held_ids(store)) == (0, [])
    await end_pause(store.meta)  # ending a pause that does not exist changes nothing


async def test_held_tasks_are_counted_and_listed_once_each(store: Store, held: list[str]) -> None:
    assert await store.held.count() == len(held)
    assert sorted(await held_ids(store)) == held


async def test_a_held_task_may_not_be_sent(store: Store, held: list[str]) -> None:
    assert (await facts_of(store, held[0])).sending == HELD
    assert not await store.ledger.begin_send(held[0], 1, 1)


async def test_pages_of_held_tasks_miss_none_while_others_are_let_go(
    store: Store, other: Store, held: list[str]
) -> None:
    page, cursor = await store.held.page(None, 2)
    await other.held.let_go([], page)
    seen = list(page)
    while cursor is not None:
        page, cursor = await store.held.page(cursor, 2)
        seen += page
    assert sorted(seen) == held


async def test_held_tasks_end_or_are_free_to_run_and_others_stay_as_they_are(
    store: Store, kit: StoreKit, held: list[str]
) -> None:
    await store.ledger.begin_send("new", 1, 1)
    ended = [record_of(task_id, TaskStatus.UNKNOWN) for task_id in (held[0], "new", "ended", "nowhere")]
    for _ in range(2):
        await store.held.let_go(ended, [held[1], "new", "nowhere"])
        assert await store.held.count() == len(held) - 2
        assert {task.task_id: task.status for task in kit.tasks()} == {
            "new": "running", "ended": "failed", held[0]: "unknown", **dict.fromkeys(held[1:], "pending"),
        }  # fmt: skip
    assert (await facts_of(store, "new")).sending == 1
    assert await store.ledger.begin_send(held[1], 1, 1)


async def test_a_held_task_that_is_let_go_and_ended_at_once_ends_once(
    store: Store, other: Store, kit: StoreKit, held: list[str]
) -> None:
    for task_id in held:
        await asyncio.gather(
            store.held.let_go([record_of(task_id, TaskStatus.UNKNOWN)], []),
            other.held.let_go([], [task_id]),
            other.ledger.end([record_of(task_id, number=2)]),
        )
    assert await store.held.count() == 0
    places = [(task.task_id, task.place) for task in kit.tasks() if task.task_id in held]
    assert sorted(places) == [(task_id, Place.HISTORY) for task_id in held]
