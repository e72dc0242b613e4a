"""The archive's part of the contract: it takes ended tasks, loses none, and only a purge destroys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from everpost.clock import DAY_MS, to_text
from everpost.pace import Pace
from everpost.store import Store
from everpost.store.archiving import archive_older
from everpost.store.history import TaskFilter
from everpost.task.model import TaskStatus, new_task_id
from everpost.task.place import Place
from everpost.task.removal_rules import Removal
from store_contract.making import accept, add_ended, end, record_of
from store_contract.test_changes import FORCED, decisions_on, retry_of
from store_kit import StoreKit
from store_rows import START_MS, make_task, remove

ARCHIVED_MS = START_MS + DAY_MS
LATER_MS = START_MS + 30 * DAY_MS


class StepsOf(Pace):
    """Steps of one size, without a rest."""

    @asynccontextmanager
    async def step(self) -> AsyncIterator[int]:
        yield self.size


def archiving(store: Store, before_ms: int, size: int) -> AsyncIterator[int]:
    """Archive in steps of so many tasks."""
    return archive_older(store, before_ms, StepsOf(size), lambda: ARCHIVED_MS)


async def put_away(store: Store, *task_ids: str, now_ms: int = ARCHIVED_MS) -> dict[str, str | None]:
    """Move tasks to the archive, as deleted; why the others stay."""
    return await remove(store, *task_ids, now_ms=now_ms)


async def sum_of(steps: AsyncIterator[int]) -> int:
    return sum([count async for count in steps])


def ids_in(kit: StoreKit, place: Place) -> list[str]:
    return sorted(task.task_id for task in kit.tasks() if task.place is place)


async def test_old_successes_are_archived_in_steps_and_nothing_else(store: Store, kit: StoreKit) -> None:
    old = [make_task(f"old{number}", priority=number, batch_id="B") for number in range(5)]
    await accept(store, *old, "new", "waiting")
    await add_ended(store, "failed")
    await end(store, *(task.task_id for task in old), status=TaskStatus.SUCCESS, result='{"ok":true}')
    await end(store, "new", status=TaskStatus.SUCCESS, finished_at_ms=START_MS + 9_000)
    before = await store.history.find_task("old3")
    before_ms = START_MS + 5_000
    assert await store.archive.count_older(before_ms) == 5
    assert [count async for count in archiving(store, before_ms, 2)] == [2, 2, 1]
    assert await sum_of(archiving(store, before_ms, 2)) == 0
    assert ids_in(kit, Place.ARCHIVE) == [task.task_id for task in old]
    assert ids_in(kit, Place.HISTORY) == ["failed", "new"]
    found = await store.history.find_task("old3")
    assert found is not None
    assert before is not None
    assert (found.place, found.archive_reason, found.archived_at) == (Place.ARCHIVE, "age", to_text(ARCHIVED_MS))
    assert (found.task_data, found.result, found.attempts) == (before.task_data, before.result, before.attempts)
    assert (found.priority, found.batch_id, found.completed_at) == (3, "B", before.completed_at)


async def test_what_a_store_archives_as_a_whole_is_not_archived_again(store: Store, kit: StoreKit) -> None:
    old = [new_task_id(START_MS + number) for number in range(3)]
    await add_ended(store, *old, status=TaskStatus.SUCCESS)
    await add_ended(store, "failed")
    whole = await store.archive.archive_whole(LATER_MS, ARCHIVED_MS)
    assert ids_in(kit, Place.ARCHIVE) == sorted(old)[:whole]
    assert whole + await sum_of(archiving(store, LATER_MS, 9)) == 3
    assert await store.archive.archive_whole(LATER_MS, ARCHIVED_MS) == 0
    assert (ids_in(kit, Place.ARCHIVE), ids_in(kit, Place.HISTORY)) == (sorted(old), ["failed"])


async def test_the_pages_of_old_tasks_are_those_to_archive_earliest_first(store: Store) -> None:
    task_ids = [f"t{number}" for number in range(5)]
    await accept(store, *reversed(task_ids))
    for number, task_id in enumerate(task_ids):
        await end(store, task_id, status=TaskStatus.SUCCESS, finished_at_ms=START_MS + number)
    found: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = await store.archive.page_older(START_MS + 4, cursor, 2)
        found += page
        if cursor is None:
            break
    assert found == task_ids[:4]


async def test_a_page_of_old_tasks_moves_none_and_its_cursor_outlasts_the_tasks(store: Store) -> None:
    await add_ended(store, *(f"t{number}" for number in range(4)), status=TaskStatus.SUCCESS)
    page, cursor = await store.archive.page_older(LATER_MS, None, 2)
    await put_away(store, *page)
    rest, following = await store.archive.page_older(LATER_MS, cursor, 10)
    assert (sorted([*page, *rest]), following) == (["t0", "t1", "t2", "t3"], None)


async def test_the_age_of_an_inherited_success_is_known_without_its_end(store: Store, kit: StoreKit) -> None:
    def row(task_id: str, at_ms: int, **changed: Any) -> dict[str, Any]:
        text = to_text(at_ms)[:19].replace("T", " ")
        return {"task_id": task_id, "status": "success", "created_at": text, "updated_at": text} | changed

    kit.add(
        Place.HISTORY,
        row("old", START_MS - 3 * DAY_MS),
        row("less than a day too old", START_MS - DAY_MS // 2),
        row("failed", START_MS - 3 * DAY_MS, status="failed"),
        row("no updated_at", START_MS - 3 * DAY_MS, updated_at=None),
    )
    assert await store.archive.count_older(START_MS) == 2
    assert await sum_of(archiving(store, START_MS, 9)) == 2
    assert ids_in(kit, Place.ARCHIVE) == ["no updated_at", "old"]


async def test_an_inherited_row_stays_when_a_success_with_its_id_is_archived(store: Store, kit: StoreKit) -> None:
    old = to_text(START_MS - 3 * DAY_MS)
    kit.add(Place.LEDGER, {"task_id": "twice", "task_type": "publish", "status": "pending", "created_at": old})
    kit.add(Place.HISTORY, {"task_id": "twice", "status": "success", "created_at": old, "updated_at": old})
    assert await sum_of(archiving(store, START_MS, 9)) == 1
    assert (ids_in(kit, Place.LEDGER), ids_in(kit, Place.HISTORY), ids_in(kit, Place.ARCHIVE)) == (
        ["twice"],
        [],
        ["twice"],
    )


async def test_many_that_archive_at_once_move_each_task_once(store: Store, other: Store, kit: StoreKit) -> None:
    await add_ended(store, *(f"t{number:02}" for number in range(50)), status=TaskStatus.SUCCESS)
    moved = await asyncio.gather(*(sum_of(archiving(each, LATER_MS, 7)) for each in (store, other) * 2))
    assert sum(moved) == 50
    assert len(ids_in(kit, Place.ARCHIVE)) == kit.count() == 50


async def test_an_archiving_that_is_broken_off_leaves_every_task_in_one_place(store: Store, kit: StoreKit) -> None:
    await add_ended(store, *(f"t{number:02}" for number in range(20)), status=TaskStatus.SUCCESS)
    async for _ in archiving(store, LATER_MS, 6):
        break
    assert (kit.count(Place.ARCHIVE), kit.count()) == (6, 20)
    assert await sum_of(archiving(store, LATER_MS, 6)) == 14


async def test_a_task_that_ends_while_it_is_deleted_is_archived_or_refused(
    store: Store, other: Store, kit: StoreKit
) -> None:
    for number in range(10):
        task_id = f"t{number}"
        await accept(store, task_id)
        removed, _ = await asyncio.gather(put_away(store, task_id), other.ledger.end([record_of(task_id)]))
        archived = removed[task_id] is None
        assert removed[task_id] in {None, Removal.UNFINISHED}
        assert ids_in(kit, Place.ARCHIVE if archived else Place.HISTORY).count(task_id) == 1
    assert kit.count() == 10


async def test_a_late_record_of_an_archived_task_stays_with_it(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "task", status=TaskStatus.UNKNOWN)
    await put_away(store, "task")
    assert await store.ledger.end([record_of("task", number=2, provider_post_id="post")]) == ["task"]
    found = await store.history.find_task("task")
    assert found is not None
    assert (found.place, found.status, found.provider_post_id) == (Place.ARCHIVE, TaskStatus.SUCCESS, "post")
    assert kit.count() == 1


async def test_an_archived_task_is_in_no_list_and_no_search_and_is_found_by_its_id(store: Store) -> None:
    await add_ended(store, make_task("task", title="findable"))
    await store.care.fill_search()
    await put_away(store, "task")
    assert (await store.history.page(TaskFilter())).items == []
    assert (await store.history.page(TaskFilter(q="findable"))).items == []
    assert (await store.history.summary()).total == 0
    assert await store.history.find_task("task") is not None


async def test_a_retry_in_the_archive_still_belongs_to_the_task_it_retried(store: Store) -> None:
    await add_ended(store, "root")
    await add_ended(store, "again", retry_of="root", root_id="root", generation=1)
    await put_away(store, "again")
    root = await store.history.find_task("root")
    assert root is not None
    assert [(retry.task_id, retry.place) for retry in root.retries] == [("again", Place.ARCHIVE)]


async def test_only_a_purge_destroys_and_only_tasks_archived_before(store: Store, kit: StoreKit) -> None:
    await add_ended(store, *(f"{number}" for number in range(5)))
    await put_away(store, "0", "1", "2")
    await put_away(store, "3", now_ms=START_MS + 9 * DAY_MS)
    assert await store.archive.count_archived(LATER_MS) == 4
    assert [count async for count in store.archive.purge(START_MS, StepsOf(2))] == []
    assert [count async for count in store.archive.purge(START_MS + 2 * DAY_MS, StepsOf(2))] == [2, 1]
    assert await sum_of(store.archive.purge(LATER_MS, StepsOf(2))) == 1
    assert [(task.task_id, task.place) for task in kit.tasks()] == [("4", Place.HISTORY)]
    assert await store.history.find_task("0") is None


async def test_a_purge_leaves_tasks_that_ended_later_although_a_wrong_clock_archived_them_before(store: Store) -> None:
    await add_ended(store, "task")
    await put_away(store, "task", now_ms=START_MS - 90 * DAY_MS)
    assert await sum_of(store.archive.purge(START_MS - DAY_MS, StepsOf(9))) == 0
    assert await store.archive.count_archived(START_MS - DAY_MS) == 0
    assert await sum_of(store.archive.purge(LATER_MS, StepsOf(9))) == 1


async def test_many_that_purge_at_once_destroy_each_task_once(store: Store, other: Store, kit: StoreKit) -> None:
    await add_ended(store, *(f"t{number:02}" for number in range(30)))
    await put_away(store, *(f"t{number:02}" for number in range(30)))
    purged = await asyncio.gather(*(sum_of(each.archive.purge(LATER_MS, StepsOf(4))) for each in (store, other) * 2))
    assert (sum(purged), kit.count()) == (30, 0)


async def test_free_space_is_told_and_given_back_where_the_store_can(store: Store) -> None:
    await add_ended(store, *(make_task(f"t{number}", note="x" * 20_000) for number in range(50)))
    await put_away(store, *(f"t{number}" for number in range(50)))
    await sum_of(store.archive.purge(LATER_MS, StepsOf(50)))
    free = await store.archive.free_space()
    assert await sum_of(store.archive.give_back_space(StepsOf(1_000))) == free
    assert await store.archive.free_space() == 0


async def test_a_success_that_is_archived_and_sent_again_at_once_is_archived_and_has_one_retry(
    store: Store, other: Store, kit: StoreKit
) -> None:
    for number in range(10):
        task_id, new_id = f"t{number}", f"new{number}"
        await add_ended(store, task_id, status=TaskStatus.SUCCESS)
        moved, retried = await asyncio.gather(
            sum_of(archiving(store, LATER_MS, 5)),
            other.changes.apply(retry_of((task_id, new_id), rule=FORCED), ARCHIVED_MS),
        )
        assert (moved, [outcome.reason for outcome in retried]) == (1, [None])
        await end(store, new_id)
    assert ids_in(kit, Place.ARCHIVE) == sorted(f"t{number}" for number in range(10))
    assert ids_in(kit, Place.HISTORY) == sorted(f"new{number}" for number in range(10))
    decisions = [await decisions_on(store, f"t{number}") for number in range(10)]
    assert [len(taken) for taken in decisions] == [1] * 10
