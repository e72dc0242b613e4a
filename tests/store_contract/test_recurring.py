"""The recurring posts' part of the contract: an occurrence is one task, however many processes make it."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from everpost.clock import to_text
from everpost.errors import RecurrenceExists
from everpost.store import Store
from everpost.store.ledger import TaskExistsError
from everpost.task.recurrence import Recurrence, RecurrenceStatus
from store_contract.making import accept
from store_kit import StoreKit
from store_rows import START_MS, make_task

HOUR_MS = 3_600_000


def recurring(name: str, **fields: Any) -> Recurrence:
    made: dict[str, Any] = {"cron": "0 * * * *", "platform": "douyin", "account_id": "a", "next_at": to_text(START_MS)}
    made |= {"task_data": '{"title":"测试"}'.encode(), "created_at": to_text(START_MS), "updated_at": to_text(START_MS)}
    return Recurrence(recurrence_id=f"id of {name}", name=name, **made | fields)


def fired(before: Recurrence, task_id: str = "made") -> Recurrence:
    return replace(before, next_at=to_text(START_MS + HOUR_MS), last_at=before.next_at, last_task_id=task_id, made=1)


async def test_it_is_found_by_its_id_or_its_name_as_it_was_added(store: Store) -> None:
    one = recurring("每周", timezone="Europe/Berlin", until_at=to_text(START_MS + 9), reason="r", missed=2, version=3)
    await store.recurring.add(one)
    assert await store.recurring.find(one.recurrence_id) == one
    assert await store.recurring.find("每周") == one
    assert await store.recurring.find("a\0b") is None
    with pytest.raises(RecurrenceExists):
        await store.recurring.add(replace(one, recurrence_id="another"))
    assert await store.recurring.remove(one.recurrence_id)
    assert not await store.recurring.remove(one.recurrence_id)
    assert await store.recurring.find("每周") is None


async def test_pages_are_in_the_order_of_names_and_due_ones_in_that_of_time(store: Store) -> None:
    for number, name in enumerate("bca"):
        await store.recurring.add(recurring(name, next_at=to_text(START_MS + number)))
    await store.recurring.add(recurring("d", status=RecurrenceStatus.PAUSED))
    await store.recurring.add(recurring("e", next_at=None))
    assert [one.name for one in await store.recurring.page("", 3)] == ["a", "b", "c"]
    assert [one.name for one in await store.recurring.page("c", 3)] == ["d", "e"]
    assert [one.name for one in await store.recurring.due(START_MS + 1, 9)] == ["b", "c"]
    assert [one.name for one in await store.recurring.due(START_MS + 9, 1)] == ["b"]


async def test_an_occurrence_that_many_processes_make_is_one_task(store: Store, other: Store, kit: StoreKit) -> None:
    before = recurring("r")
    await store.recurring.add(before)
    task = make_task("made", due_at_ms=START_MS, late_at_ms=START_MS + 5)
    made = await asyncio.gather(
        *(one.recurring.change(before, fired(before), task, START_MS) for one in (store, other) * 4)
    )
    assert sorted(made) == [False] * 7 + [True]
    assert [one.task_id for one in kit.tasks()] == ["made"]
    assert await store.recurring.find("r") == fired(before)


async def test_an_occurrence_is_not_made_of_a_version_that_was_changed(store: Store, kit: StoreKit) -> None:
    before = recurring("r")
    await store.recurring.add(before)
    paused = replace(before, status=RecurrenceStatus.PAUSED, version=2)
    assert await store.recurring.change(before, paused, None, START_MS)
    assert not await store.recurring.change(before, fired(before), make_task("made"), START_MS)
    assert (kit.tasks(), await store.recurring.find("r")) == ([], paused)


async def test_a_change_is_whole_or_not_at_all(store: Store, kit: StoreKit) -> None:
    before = recurring("r")
    await store.recurring.add(before)
    await store.recurring.add(recurring("taken"))
    await accept(store, "made")
    with pytest.raises(TaskExistsError):
        await store.recurring.change(before, fired(before), make_task("made"), START_MS)
    with pytest.raises(RecurrenceExists):
        await store.recurring.change(before, replace(before, name="taken"), make_task("new"), START_MS)
    assert await store.recurring.find("r") == before
    assert [one.task_id for one in kit.tasks()] == ["made"]
