"""Bringing removed tasks back: a part of the contract of changes."""

import pytest

from everpost.store import Store
from everpost.store.archive import Reason
from everpost.store.changes import NOT_REMOVED, BringBack, Remove
from everpost.store.history import TaskFilter
from everpost.task.model import TaskStatus
from everpost.task.place import Place
from everpost.task.removal_rules import decide_removal
from store_contract.making import accept, add_ended, record_of
from store_contract.test_changes import NOW_MS, remove_of
from store_contract.test_operations import operation_of
from store_kit import StoreKit
from store_rows import START_MS, ids, make_task


async def bring_back(store: Store, *task_ids: str) -> dict[str, str | None]:
    outcomes = await store.changes.apply(BringBack(task_ids), NOW_MS + 1)
    return {outcome.task_id: outcome.reason for outcome in outcomes}


@pytest.mark.parametrize("status", [TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.UNKNOWN])
async def test_a_removed_task_comes_back_as_it_was(store: Store, other: Store, status: TaskStatus) -> None:
    await add_ended(store, make_task("a", batch_id="B", description="whole", submitted_by="mei"), "b", status=status)
    before = await store.history.find_task("a")
    await store.changes.apply(remove_of("a"), NOW_MS)
    assert await bring_back(store, "a") == {"a": None}
    after = await other.history.find_task("a")
    assert before is not None
    assert after is not None
    assert (after.place, after.archived_at, after.task_data) == (Place.HISTORY, None, before.task_data)
    same = (
        "status",
        "created_at",
        "updated_at",
        "completed_at",
        "attempts",
        "error_class",
        "batch_id",
        "title",
        "submitted_by",
    )
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert ids((await store.history.page(TaskFilter())).items) == ["b", "a"]


async def test_it_is_found_by_its_words_again_and_counts_as_a_failure(store: Store, kit: StoreKit) -> None:
    await add_ended(store, make_task("a", title="Quark"))
    while await store.care.fill_search():
        pass
    await store.changes.apply(remove_of("a"), NOW_MS)
    now_s = START_MS // 1000 + 600
    assert (await store.failures.groups(now_s - 3600, now_s)).tasks == 0
    await bring_back(store, "a")
    assert ids((await store.history.page(TaskFilter(q="quark"))).items) == ["a"]
    while await store.care.fill_search():
        pass
    assert ids((await store.history.page(TaskFilter(q="quark"))).items) == ["a"]
    found = await store.failures.groups(now_s - 3600, now_s)
    assert (found.tasks, found.groups[0].sample) == (1, "a")
    assert kit.counted() == {Place.HISTORY: 1}
    assert kit.find_faults() == []


async def test_what_people_did_not_remove_stays_in_the_archive(store: Store) -> None:
    await add_ended(store, "old", status=TaskStatus.SUCCESS)
    await store.changes.apply(Remove(["old"], Reason.AGE, decide_removal), NOW_MS)
    await add_ended(store, "listed")
    await accept(store, "waiting")
    assert await bring_back(store, "old", "listed", "waiting", "nobody", "no\0body") == dict.fromkeys(
        ("old", "listed", "waiting", "nobody", "no\0body"), NOT_REMOVED
    )


async def test_a_task_with_a_callback_is_not_told_of_twice(store: Store) -> None:
    await accept(store, make_task("a", callback_url="https://example.test/hook"))
    await store.ledger.end([record_of("a", TaskStatus.FAILED)])
    callbacks = TaskFilter(platform=("callback",))
    told = ids((await store.history.page(callbacks)).items)
    await store.changes.apply(remove_of("a"), NOW_MS)
    await bring_back(store, "a")
    assert ids((await store.history.page(callbacks)).items) == told
    await store.ledger.end([record_of("a", TaskStatus.SUCCESS, 2, finished_at_ms=NOW_MS)])
    assert len(ids((await store.history.page(callbacks)).items)) == len(told) + 1


async def test_the_tasks_that_an_operation_removed_are_found_until_they_are_back(store: Store, other: Store) -> None:
    await add_ended(store, "a", "b", "c", "d")
    await store.operations.advance(
        operation_of("earlier", kind="delete"), remove_of("a"), (), None, NOW_MS, is_new=True
    )
    await store.operations.advance(
        operation_of("this", kind="delete"), remove_of("a", "b", "c"), (), None, NOW_MS, is_new=True
    )
    await store.changes.apply(remove_of("d"), NOW_MS)  # by another person, at the same time
    assert await other.archive.page_removed("this", NOW_MS, NOW_MS, 10) == ["b", "c"]
    assert await store.archive.page_removed("this", NOW_MS, NOW_MS, 1) == ["b"]
    await bring_back(store, "b", "c")
    assert await store.archive.page_removed("this", NOW_MS, NOW_MS, 10) == []
    await store.changes.apply(remove_of("c"), NOW_MS + 5)
    assert await store.archive.page_removed("this", NOW_MS, NOW_MS, 10) == []


async def test_a_task_that_only_counts_for_its_batch_does_so_after_it_came_back(store: Store) -> None:
    await add_ended(store, make_task("a", batch_id="B", callback_url=""))
    await store.changes.apply(remove_of("a"), NOW_MS)
    await bring_back(store, "a")
    (found,) = await store.changes.find(["a"], whole=False)
    assert found.position is not None
    assert found.position.calls_back


async def test_what_an_original_never_ended_is_not_among_removed_tasks_that_can_come_back(
    store: Store, kit: StoreKit
) -> None:
    kit.add(Place.LEDGER, {"task_id": "inherited", "status": "pending", "data": "{}"})
    await add_ended(store, "a")
    removal = operation_of("removal", kind="delete")
    await store.operations.advance(removal, remove_of("inherited", "a"), (), None, NOW_MS, is_new=True)
    assert await store.archive.page_removed("removal", NOW_MS, NOW_MS, 10) == ["a"]
    assert await bring_back(store, "inherited", "a") == {"inherited": NOT_REMOVED, "a": None}
