"""Archiving by age takes a whole month out of the history, with the same answers as moving its tasks one by one."""

import asyncio
from datetime import UTC, datetime
from typing import cast

import psycopg
import pytest

from everpost.clock import DAY_MS, to_text
from everpost.pace import Pace
from everpost.store import Store, maintenance_of
from everpost.store.archiving import archive_older
from everpost.store.history import TaskFilter
from everpost.store.moving import Table
from everpost.store.postgresql.care import archive
from everpost.store.postgresql.care.archive import PostgresqlArchive
from everpost.store.postgresql.store import PostgresqlStore
from everpost.task.model import TaskStatus, new_task_id
from everpost.task.place import Place
from everpost.task.removal_rules import Removal
from postgresql.kit import PostgresqlKit
from store_contract.making import accept, add_ended, end, record_of
from store_contract.test_changes import FORCED, retry_of
from store_contract.test_edits import edit, version_of
from store_rows import ids, make_task, remove

IN_MAY_MS = round(datetime(2030, 5, 17, 12, tzinfo=UTC).timestamp() * 1000)
BEFORE_MS = IN_MAY_MS + 60 * DAY_MS
NOW_MS = IN_MAY_MS + 100 * DAY_MS
PACE = Pace(1_000)
FILE = "SELECT pg_relation_filenode(%s)"


@pytest.fixture
async def store(store: Store) -> Store:
    """The open store, which archives small months as a whole, too."""
    store = cast("PostgresqlStore", store)
    store.archive = PostgresqlArchive(store.database, fewest=3)
    await store.care.tend(IN_MAY_MS)
    return store


def of_may(count: int) -> list[str]:
    return [new_task_id(IN_MAY_MS + number) for number in range(count)]


async def fill_may(store: Store, kit: PostgresqlKit) -> tuple[list[str], list[str]]:
    """Successes that go; and what stays: a failure, an unknown task, a later success, a task without a status."""
    going, staying = of_may(10), of_may(4)
    await accept(store, *(make_task(task_id, platform="bilibili") for task_id in going[:3]))
    assert await store.ledger.save_checkpoint(going[0], 1, '{"upload":1}', IN_MAY_MS)
    await end(store, *going[:3], status=TaskStatus.SUCCESS)
    await add_ended(store, *going[3:], status=TaskStatus.SUCCESS)
    await add_ended(store, staying[0])
    await add_ended(store, staying[1], status=TaskStatus.UNKNOWN)
    await accept(store, staying[2])
    await end(store, staying[2], status=TaskStatus.SUCCESS, finished_at_ms=BEFORE_MS)
    kit.add(Place.HISTORY, {"task_id": staying[3], "status": None, "created_at": to_text(IN_MAY_MS)})
    await store.care.fill_search()
    kit.execute("VACUUM ANALYZE publish_tasks")
    return going, sorted(staying)


async def archive_all(store: Store) -> list[int]:
    return [count async for count in archive_older(store, BEFORE_MS, PACE, lambda: NOW_MS)]


def places(kit: PostgresqlKit) -> dict[str, Place]:
    return {task.task_id: task.place for task in kit.tasks()}


@pytest.mark.parametrize("fewest", [3, 1_000], ids=["as a whole", "one by one"])
async def test_a_month_is_archived_with_the_same_answers_either_way(
    store: Store, kit: PostgresqlKit, fewest: int
) -> None:
    cast("PostgresqlStore", store).archive = PostgresqlArchive(cast("PostgresqlStore", store).database, fewest=fewest)
    going, staying = await fill_may(store, kit)
    file = kit.select(FILE, "publish_tasks_2030_05")
    before = await store.history.find_task(going[0])
    assert await store.archive.count_older(BEFORE_MS) == sum(await archive_all(store)) == len(going)
    assert (kit.select("SELECT to_regclass('publish_tasks_archive_2030_05')") == [(None,)]) == (fewest > 3)
    if fewest == 3:
        assert kit.select(FILE, "publish_tasks_archive_2030_05") == file  # no row has moved
    assert places(kit) == dict.fromkeys(going, Place.ARCHIVE) | dict.fromkeys(staying, Place.HISTORY)
    assert ids((await store.history.page(TaskFilter())).items) == staying[::-1]
    assert sorted(ids((await store.history.page(TaskFilter(q="测试"))).items)) == staying[:3]
    assert (await store.history.summary()).by_status == {"failed": 1, "unknown": 1, "success": 1, "": 1}
    assert await store.care.repair_counts() == 0
    found = await store.history.find_task(going[0])
    assert before is not None
    assert found is not None
    assert (found.place, found.archive_reason, found.archived_at) == (Place.ARCHIVE, "age", to_text(NOW_MS))
    assert before.row is found.row is None  # only SQLite numbers rows
    assert (found.task_data, found.attempts, found.completed_at) == (
        before.task_data,
        before.attempts,
        before.completed_at,
    )
    assert (found.checkpoint, found.checkpoint_attempt) == ({"upload": 1}, 1)
    assert await archive_all(store) == [0]
    assert not kit.find_faults()


async def test_tasks_of_an_archived_month_are_retried_completed_and_found(store: Store, kit: PostgresqlKit) -> None:
    going, staying = await fill_may(store, kit)
    await archive_all(store)
    (outcome,) = await store.changes.apply(retry_of((going[0], "again"), rule=FORCED), NOW_MS)
    assert outcome.new_task is not None
    (candidate,) = await store.changes.find([going[1]], whole=True)
    assert candidate.data is not None
    assert await store.ledger.end([record_of(going[2], number=2, provider_post_id="post")]) == [going[2]]
    found = await store.history.find_task(going[2])
    assert found is not None
    assert (found.place, found.provider_post_id) == (Place.ARCHIVE, "post")
    assert [match.task_id for match in await store.history.find_ids(going[3], 5)] == [going[3]]
    (staying_outcome,) = await store.changes.apply(retry_of((staying[0], "failed again")), NOW_MS)
    assert staying_outcome.new_task is not None


async def test_tasks_that_come_into_an_archived_month_are_archived_too(store: Store, kit: PostgresqlKit) -> None:
    going, _ = await fill_may(store, kit)
    late = new_task_id(IN_MAY_MS + 77)
    await accept(store, late)
    await archive_all(store)
    await end(store, late, status=TaskStatus.SUCCESS)
    assert places(kit)[late] is Place.HISTORY
    assert sum(await archive_all(store)) == 1
    assert places(kit)[late] is places(kit)[going[0]] is Place.ARCHIVE


async def test_a_month_that_another_reads_is_not_waited_for(
    store: Store, address: str, kit: PostgresqlKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a lock that waits, every list would wait; the tasks go one by one then."""
    monkeypatch.setattr(archive, "TRIES", 1)
    monkeypatch.setattr(archive, "PAUSE_S", 0)
    going, staying = await fill_may(store, kit)
    with psycopg.connect(address) as reader:
        reader.execute("SELECT count(*) FROM publish_tasks")  # its locks last until the end of its transaction
        assert await store.archive.archive_whole(BEFORE_MS, NOW_MS) == 0
        assert places(kit) == dict.fromkeys((*going, *staying), Place.HISTORY)
        assert sum(await archive_all(store)) == len(going)
    assert not kit.find_faults()
    assert await store.care.repair_counts() == 0


async def test_a_month_is_archived_while_its_tasks_change(store: Store, kit: PostgresqlKit) -> None:
    going, staying = await fill_may(store, kit)
    failed = [new_task_id(IN_MAY_MS + 100 + number) for number in range(20)]
    await add_ended(store, *failed)
    kit.execute("VACUUM ANALYZE publish_tasks")

    async def retry(task_id: str) -> None:
        (outcome,) = await store.changes.apply(retry_of((task_id, f"new {task_id}")), NOW_MS)
        assert outcome.new_task is not None, outcome

    async with asyncio.TaskGroup() as group:
        removing = group.create_task(remove(store, *going[:5]))
        archiving = group.create_task(archive_all(store))
        for task_id in failed:
            group.create_task(retry(task_id))
    assert set(removing.result().values()) <= {None, Removal.ARCHIVED_BEFORE}
    assert sum(archiving.result()) + [*removing.result().values()].count(None) == len(going)
    found = places(kit)
    assert {found[task_id] for task_id in going} == {Place.ARCHIVE}
    assert {found[task_id] for task_id in (*staying, *failed)} == {Place.HISTORY}
    assert not kit.find_faults()
    assert await store.care.repair_counts() == 0


async def test_a_purge_of_a_month_destroys_the_edits_of_its_tasks(store: Store, kit: PostgresqlKit) -> None:
    task_ids = of_may(5)
    await accept(store, *task_ids)
    for task_id in task_ids:
        assert (await edit(store, version_of(task_id))).reason is None
    await end(store, *task_ids[:4], status=TaskStatus.SUCCESS)
    await store.care.fill_search()
    kit.execute("VACUUM ANALYZE publish_tasks")
    assert sum(await archive_all(store)) == 4
    assert kit.select("SELECT to_regclass('publish_tasks_archive_2030_05')") != [(None,)]
    assert len(kit.select("SELECT FROM task_edits")) == 5
    assert [count async for count in store.archive.purge(NOW_MS + 1, PACE)] == [4]
    assert kit.select("SELECT task_id FROM task_edits") == [(task_ids[4],)]


async def test_a_purge_destroys_a_month_that_was_archived_as_a_whole(store: Store, kit: PostgresqlKit) -> None:
    going, staying = await fill_may(store, kit)
    await archive_all(store)
    await remove(store, staying[0], now_ms=NOW_MS)
    assert await store.archive.count_archived(NOW_MS + 1) == len(going) + 1
    assert [count async for count in store.archive.purge(NOW_MS, PACE)] == []
    assert [count async for count in store.archive.purge(NOW_MS + 1, PACE)] == [len(going), 1]
    assert places(kit) == dict.fromkeys(staying[1:], Place.HISTORY)
    assert await store.history.find_task(going[0]) is None


async def test_a_month_that_was_archived_as_a_whole_is_moved_with_the_rest(
    store: Store, address: str, kit: PostgresqlKit
) -> None:
    going, staying = await fill_may(store, kit)
    await archive_all(store)
    await remove(store, staying[0])
    await store.close()
    moved = await maintenance_of(address).open_moved()
    found: list[str] = []
    cursor: str | None = None
    while (portion := await moved.portion(Table.ARCHIVE, cursor, 4)).rows:
        found += [str(row.values[0]) for row in portion.rows]
        cursor = portion.following
    assert found == [*sorted(going), staying[0]]
    assert await moved.count(Table.ARCHIVE) == len(found)
    await moved.close()
