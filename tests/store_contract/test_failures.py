"""The failures' part of the contract: groups by cause, platform and account, which follow the tasks."""

from typing import Any

import msgspec
import pytest

from everpost.clock import DAY_MS
from everpost.store import Store
from everpost.store.failures import DAY_S, FINE_S, HOUR_S, FailureGroup, Failures, window_of
from everpost.store.history import TaskFilter
from everpost.task.model import ErrorClass, TaskStatus
from everpost.task.place import Place
from store_contract.making import accept, add_ended, end, record_of
from store_contract.test_changes import NOW_MS, remove_of
from store_kit import StoreKit
from store_rows import START_MS, ids, make_task

NOW_S = START_MS // 1000 + 600


async def groups_of(store: Store, span_s: int = 3600) -> Failures:
    return await store.failures.groups(NOW_S - span_s, NOW_S)


def counts_of(found: Failures) -> dict[tuple[str, str, str], int]:
    return {(group.text, group.platform, group.account_id): group.tasks for group in found.groups}


async def test_failures_are_grouped_by_cause_platform_and_account(store: Store, other: Store) -> None:
    await accept(store, "a", "b", make_task("c", account_id="z"), make_task("d", platform="bilibili"), "e", "s")
    await store.ledger.end(
        [
            record_of(task_id, TaskStatus.FAILED, error_message=f"HTTP 500 for post {number}")
            for number, task_id in enumerate("abcd")
        ]
    )
    await end(store, "e", finished_at_ms=START_MS + 400_000)
    await end(store, "s", status=TaskStatus.SUCCESS)
    found = await groups_of(other)
    assert counts_of(found) == {
        ("HTTP 500 for post N", "douyin", "a"): 2,
        ("HTTP 500 for post N", "douyin", "z"): 1,
        ("HTTP 500 for post N", "bilibili", "a"): 1,
        ("Sign in again", "douyin", "a"): 1,
    }
    assert (found.tasks, found.group_count, found.slice_s, found.is_complete) == (5, 4, FINE_S, True)
    largest = found.groups[0]
    assert (largest.tasks, largest.error_class, largest.sample) == (2, "auth", "b")
    assert largest.first_s == largest.last_s == START_MS // 1000 + 2
    assert sum(largest.trend) == 2
    assert len(largest.trend) == found.slices
    assert counts_of(await store.failures.groups(NOW_S - 3600, NOW_S, limit=1)) == {
        ("HTTP 500 for post N", "douyin", "a"): 2
    }


async def test_a_trend_counts_each_failure_in_its_slice(store: Store) -> None:
    await accept(store, "a", "b", "c")
    for task_id, second in (("a", 1), ("b", 301), ("c", 302)):
        await end(store, task_id, finished_at_ms=START_MS // 300_000 * 300_000 + second * 1_000)
    (group,) = (await groups_of(store, 900)).groups
    assert [count for count in group.trend if count] == [1, 2]
    for span_s, slice_s in ((3600, FINE_S), (DAY_S, HOUR_S), (30 * DAY_S, DAY_S)):
        found = await groups_of(store, span_s)
        assert (found.tasks, found.slice_s) == (3, slice_s)


async def test_what_failed_before_the_window_does_not_count(store: Store) -> None:
    await accept(store, "a", "b")
    await end(store, "a", finished_at_ms=START_MS - DAY_MS)
    await end(store, "b")
    assert (await groups_of(store, 3600)).tasks == 1
    assert (await groups_of(store, 3 * DAY_S)).tasks == 2
    assert (await store.failures.groups(NOW_S + 3600, NOW_S + 3600)).groups == []


@pytest.mark.parametrize("span_s", [0, 60, 6 * HOUR_S, 6 * HOUR_S + 1, 3 * DAY_S, 3 * DAY_S + 1, 4_000 * DAY_S, -5])
def test_a_window_has_few_slices_and_the_present_in_its_last(span_s: int) -> None:
    window = window_of(NOW_S - span_s, NOW_S)
    assert window.slices <= 402
    last_s = window.began_s + window.slice_s * (window.slices - 1)
    assert last_s <= NOW_S < last_s + window.slice_s


async def test_a_failure_that_leaves_the_history_or_succeeded_after_all_does_not_count(store: Store) -> None:
    await add_ended(store, "a", "b", "c")
    await store.changes.apply(remove_of("a"), NOW_MS)
    assert (await groups_of(store)).tasks == 2
    await store.ledger.end([record_of("b", TaskStatus.SUCCESS, 2, finished_at_ms=NOW_MS)])
    (group,) = (await groups_of(store)).groups
    assert (group.tasks, group.sample) == (1, "c")
    await store.ledger.end([record_of("c", TaskStatus.SUCCESS, 2, finished_at_ms=NOW_MS)])
    assert (await groups_of(store)).groups == []


async def test_a_group_s_sample_is_a_task_that_is_there(store: Store) -> None:
    await add_ended(store, "a", "b")
    await store.changes.apply(remove_of("b"), NOW_MS)
    (group,) = (await groups_of(store)).groups
    assert (group.tasks, group.sample) == (1, None)


async def test_the_tasks_of_a_cause_are_listed_and_counted(store: Store) -> None:
    names = [f"t{number}" for number in range(5)]
    await add_ended(store, *names, make_task("x", account_id="b"), make_task("y", platform="bilibili"))
    await accept(store, "other", "waiting")
    await end(store, "other", error_message="Something else")
    cause = next(group.cause for group in (await groups_of(store)).groups if group.text == "Sign in again")
    history = store.history
    page = await history.page(TaskFilter(cause=cause), None, 3, counted=True)
    rest = await history.page(TaskFilter(cause=cause), page.next_cursor, 10)
    assert ids(page.items) + ids(rest.items) == ["y", "x", "t4", "t3", "t2", "t1", "t0"]
    assert page.total is not None
    assert page.total.total == 7
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"platform": ("bilibili",)}, ["y"]),
        ({"account_id": "b"}, ["x"]),
        ({"account_id": "a", "platform": ("douyin", "3"), "status": "failed", "error_class": "auth"}, names[::-1]),
        ({"status": "success"}, []),
        ({"task_ids": ("t1", "other", "waiting")}, ["t1"]),
        ({"place": Place.LEDGER}, []),
        ({"created_before_ms": START_MS}, []),
        ({"created_after_ms": START_MS}, ["y", "x", *names[::-1]]),
        ({"q": "测试"}, ["y", "x", *names[::-1]]),
    ]
    for fields, expected in cases:
        wanted = TaskFilter(cause=cause, **fields)
        assert (await history.page_ids(wanted))[0] == expected, fields
        assert (await history.total(wanted)).total == len(expected), fields
    while await store.care.fill_search():
        pass
    assert (await history.page_ids(TaskFilter(cause=cause, q="测试")))[0] == ["y", "x", *names[::-1]]
    assert (await history.page_ids(TaskFilter(cause="0" * 12)))[0] == []


async def test_upkeep_finds_the_causes_of_failures_that_another_version_recorded(
    store: Store, other: Store, kit: StoreKit
) -> None:
    kit.add(
        Place.HISTORY,
        *(
            {
                "task_id": f"o{number}", "platform": "douyin", "account_id": "a", "status": status,
                "error_class": "auth", "error_message": f"code {number}", "created_at": "2025-01-01T08:00:00.000Z",
                "completed_at": "2025-01-01T09:00:00.000Z",
            }
            for number, status in enumerate(("failed", "failed", "success", "failed"))
        ),
        {
            "task_id": "local", "status": "failed", "created_at": "2025-01-01 08:00:00",
            "completed_at": "2025-01-01 09:00:00", "error_message": None,
        },
    )  # fmt: skip
    await add_ended(store, "known")
    looked = 0
    while (step := await store.failures.fill(NOW_MS, 2)) > 0:
        looked += step
    assert looked == 5
    before_s = 1_735_732_800
    found = await other.failures.groups(before_s - DAY_S, before_s + DAY_S)
    assert counts_of(found)["code N", "douyin", "a"] == 3
    assert counts_of(found)["", "", ""] == 1
    assert (await groups_of(other)).tasks == 1
    assert await store.failures.fill(NOW_MS, 2) == 0
    assert await other.failures.fill(NOW_MS, 100) == 5  # a new process looks once more, and finds nothing to add
    assert counts_of(await other.failures.groups(before_s - DAY_S, before_s + DAY_S)) == counts_of(found)


async def test_a_failure_without_a_row_in_the_ledger_has_its_cause_too(store: Store) -> None:
    record = record_of("stray", TaskStatus.FAILED, error_class=ErrorClass.UNREADABLE, error_message="no JSON")
    await store.ledger.end([record])
    assert [(group.text, group.tasks) for group in (await groups_of(store)).groups] == [("no JSON", 1)]


async def test_an_end_that_is_recorded_again_counts_once(store: Store) -> None:
    await add_ended(store, "a")
    await end(store, "a")
    assert (await groups_of(store)).tasks == 1


async def test_numbers_that_nothing_asks_for_any_more_are_removed(store: Store) -> None:
    await add_ended(store, "a")
    await store.care.tend(NOW_MS)
    later_ms = NOW_MS + 100 * DAY_MS
    while await store.care.forget_expired(DAY_MS, later_ms):
        pass
    assert (await groups_of(store, 3600)).groups == []
    assert (await groups_of(store, 30 * DAY_S)).tasks == 1


async def test_the_numbers_stay_the_same_when_their_changes_are_added_up(store: Store) -> None:
    await add_ended(store, "a", "b", "c")
    await store.changes.apply(remove_of("a"), NOW_MS)
    before = await groups_of(store)
    await store.care.tend(NOW_MS)
    await store.care.tend(NOW_MS)

    def plain(found: Failures) -> list[FailureGroup]:
        return [msgspec.structs.replace(group) for group in found.groups]

    assert plain(await groups_of(store)) == plain(before)
