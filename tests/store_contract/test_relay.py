"""The relay's part of the contract: a walk sees every task, whenever it is committed, and none twice without need."""

import asyncio
from collections.abc import Sequence

import pytest

from everpost.store import Store
from everpost.store.relay import DATED_AHEAD_MS, OddFacts, StuckError
from everpost.task.model import HELD, QueueEntry, Task, TaskStatus, new_task_id
from everpost.task.place import Place
from store_contract.making import accept, add_ended, end
from store_kit import StoreKit
from store_rows import START_MS, make_task

OLD_ENOUGH_MS = START_MS + 1_000
"""All tasks of these tests are older, if they say nothing else."""


async def walk(
    store: Store, cursor: str | None = None, before_ms: int = OLD_ENOUGH_MS, limit: int = 3
) -> tuple[list[str], str | None]:
    """The ids that a whole walk shows, and where the next one begins."""
    seen: list[str] = []
    while True:
        page = await store.relay.page(cursor, before_ms, limit)
        assert len(page.entries) + len(page.odd) <= limit
        seen += [entry.task_id for entry in page.entries]
        if page.next_cursor is None:
            return seen, page.resume_cursor
        cursor = page.next_cursor


async def test_a_walk_shows_each_accepted_task_once_with_its_place_in_redis(store: Store) -> None:
    await accept(store, *(f"t{number}" for number in range(7)), priority=2)
    await accept(store, make_task("later", due_at_ms=START_MS + 9))
    await add_ended(store, "ended")
    seen, _ = await walk(store)
    assert sorted(seen) == ["later", *(f"t{number}" for number in range(7))]
    entries = {entry.task_id: entry for entry in (await store.relay.page(None, OLD_ENOUGH_MS, 100)).entries}
    assert entries["t0"] == QueueEntry(task_id="t0", priority=2, created_at_ms=START_MS)
    assert entries["later"].due_at_ms == START_MS + 9


async def test_an_empty_ledger_is_a_page_without_tasks(store: Store) -> None:
    page = await store.relay.page(None, OLD_ENOUGH_MS, 10)
    assert (page.entries, page.odd, page.next_cursor) == ([], [], None)


async def test_inherited_tasks_are_never_shown(store: Store, kit: StoreKit) -> None:
    kit.add(Place.LEDGER, {"task_id": "old", "data": "{}"})
    assert (await walk(store))[0] == []
    assert (await store.relay.runnable(["old"])).tasks == []


async def test_the_next_walk_shows_new_tasks_and_not_seen_ones(store: Store) -> None:
    await accept(store, "first", "second")
    _, cursor = await walk(store)
    assert await walk(store, cursor) == ([], cursor)
    await accept(store, "third")
    seen, cursor = await walk(store, cursor)
    assert seen == ["third"]
    await end(store, "first", "second", "third")
    await accept(store, "fourth")
    assert (await walk(store, cursor))[0] == ["fourth"]


async def test_a_task_that_is_too_young_is_shown_by_a_later_walk(store: Store) -> None:
    await accept(store, make_task("young", created_at_ms=OLD_ENOUGH_MS + 1), make_task("old"))
    seen, cursor = await walk(store)
    assert seen == ["old"]
    seen, _ = await walk(store, cursor, before_ms=OLD_ENOUGH_MS + 2)
    assert "young" in seen


async def test_tasks_that_are_too_young_are_found_on_whichever_page_a_walk_passed_them(store: Store) -> None:
    ids = [f"t{number}" for number in range(12)]
    young = {"t1", "t2", "t7"}
    ages = {task_id: OLD_ENOUGH_MS + 1 if task_id in young else START_MS for task_id in ids}
    for task_id in ids:
        await accept(store, make_task(task_id, created_at_ms=ages[task_id]))
    seen, cursor = await walk(store)
    assert sorted(seen) == sorted(set(ids) - young)
    again, cursor = await walk(store, cursor)  # they are still too young
    assert young.isdisjoint(again)
    later, cursor = await walk(store, cursor, before_ms=OLD_ENOUGH_MS + 2)
    assert young <= set(later)
    assert (await walk(store, cursor, before_ms=OLD_ENOUGH_MS + 2))[0] == []


async def test_a_task_that_is_committed_after_younger_ones_is_still_found(store: Store, other: Store) -> None:
    """Its id and its time are older than all that a walk has passed: they were chosen long before its commit."""
    late = make_task(new_task_id(START_MS - 5_000), created_at_ms=START_MS - 5_000)
    await accept(store, *(make_task(new_task_id(START_MS + number)) for number in range(5)))
    seen, cursor = await walk(store)
    assert len(seen) == 5
    await other.ledger.accept([late], START_MS)
    assert (await walk(store, cursor))[0] == [late.task_id]


async def test_a_task_that_is_committed_during_a_walk_is_found_by_it_or_the_next(store: Store, other: Store) -> None:
    await accept(store, *(f"t{number}" for number in range(6)))
    page = await store.relay.page(None, OLD_ENOUGH_MS, 2)
    await other.ledger.accept([make_task("0")], START_MS)
    seen, cursor = await walk(store, page.next_cursor, limit=2)
    again, _ = await walk(store, cursor)
    assert {"0", *(f"t{number}" for number in range(2, 6))} == {*seen, *again}


async def test_no_task_is_overlooked_while_many_are_committed_in_any_order(store: Store, other: Store) -> None:
    tasks = [make_task(new_task_id(START_MS - number), created_at_ms=START_MS - number) for number in range(120)]
    writing = asyncio.gather(
        _accept_one_by_one(store, tasks[::2]), _accept_one_by_one(other, list(reversed(tasks[1::2])))
    )
    seen: set[str] = set()
    cursor: str | None = None
    while not writing.done():
        found, cursor = await walk(store, cursor, limit=7)
        seen.update(found)
    await writing
    found, _ = await walk(store, cursor, limit=7)
    assert {*seen, *found} == {task.task_id for task in tasks}


async def _accept_one_by_one(store: Store, tasks: Sequence[Task]) -> None:
    for task in tasks:
        await store.ledger.accept([task], START_MS)


async def test_a_walk_shows_all_tasks_that_stay_while_others_end(store: Store, other: Store) -> None:
    ids = [f"t{number:02}" for number in range(20)]
    await accept(store, *ids)
    page = await store.relay.page(None, OLD_ENOUGH_MS, 5)
    await end(other, *ids[:10])
    seen, _ = await walk(store, page.next_cursor, limit=5)
    assert set(ids[10:]) <= {*seen, *(entry.task_id for entry in page.entries)}
    assert len(seen) == len(set(seen))


async def test_tasks_that_no_clock_can_have_written_yet_are_shown(store: Store) -> None:
    ahead_ms = OLD_ENOUGH_MS + 2 * DATED_AHEAD_MS
    await accept(store, make_task("ahead", created_at_ms=ahead_ms))
    assert (await walk(store))[0] == ["ahead"]


@pytest.mark.parametrize("time", [None, "tomorrow"])
async def test_a_task_without_a_readable_time_is_shown_and_due_at_once(
    store: Store, kit: StoreKit, time: str | None
) -> None:
    await accept(store, "task")
    kit.change(Place.LEDGER, "task", created_at=time, due_at=time)
    page = await store.relay.page(None, OLD_ENOUGH_MS, 10)
    assert [(entry.task_id, entry.due_at_ms) for entry in page.entries] == [("task", None)]


async def test_runnable_tasks_come_with_all_that_goes_to_redis(store: Store) -> None:
    await add_ended(store, "root")
    task = make_task(
        "retry", retry_of="root", root_id="root", generation=1, batch_id="batch", priority=1, due_at_ms=START_MS + 5
    )
    await accept(store, task)
    found = await store.relay.runnable(["retry", "root", "nowhere"])
    assert (found.tasks, found.odd) == ([task], [])


async def test_an_odd_task_is_set_aside_as_failed_or_unknown(store: Store, kit: StoreKit) -> None:
    await accept(store, "empty", "sent", "fine")
    await store.ledger.begin_send("sent", 2, START_MS)
    for task_id in ("empty", "sent"):
        kit.change(Place.LEDGER, task_id, data=None)
    found = await store.relay.runnable(["empty", "sent", "fine"])
    assert [task.task_id for task in found.tasks] == ["fine"]
    asked: list[OddFacts] = []

    def rule(facts: OddFacts) -> bool:
        asked.append(facts)
        return facts.sending not in {None, HELD}

    aside = [await store.relay.set_aside(odd, rule, START_MS + 5) for odd in found.odd]
    assert {(one.task_id, one.status) for one in aside if one} == {
        ("empty", TaskStatus.FAILED), ("sent", TaskStatus.UNKNOWN),
    }  # fmt: skip
    assert {facts.task_id: facts.sending for facts in asked} == {"empty": None, "sent": 2}
    assert {task.task_id: task.place for task in kit.tasks()} == {
        "fine": Place.LEDGER, "empty": Place.HISTORY, "sent": Place.HISTORY,
    }  # fmt: skip
    assert (await walk(store))[0] == ["fine"]


async def test_an_odd_task_is_set_aside_once_however_many_try(store: Store, other: Store, kit: StoreKit) -> None:
    await accept(store, "empty")
    kit.change(Place.LEDGER, "empty", data=None)
    (odd,) = (await store.relay.runnable(["empty"])).odd
    answers = await asyncio.gather(
        *(each.relay.set_aside(odd, lambda _: False, START_MS) for each in (store, other) * 3)
    )
    assert sum(answer is not None for answer in answers) == 1
    assert kit.count() == 1


async def test_an_odd_task_that_the_history_has_already_stays(store: Store, kit: StoreKit) -> None:
    await accept(store, "twice")
    kit.change(Place.LEDGER, "twice", data=None)
    kit.add(Place.HISTORY, {"task_id": "twice", "status": "failed"})
    (odd,) = (await store.relay.runnable(["twice"])).odd
    with pytest.raises(StuckError):
        await store.relay.set_aside(odd, lambda _: False, START_MS)
    assert kit.count(Place.LEDGER) == 1
