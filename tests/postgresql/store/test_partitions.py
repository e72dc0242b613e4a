"""The partitions of the history: a month of tasks is one range of ids, and upkeep makes it before the month begins."""

import asyncio
from datetime import UTC, date, datetime
from uuid import UUID

import psycopg
import pytest

from everpost.errors import DatabaseBusy
from everpost.store import Store
from everpost.store.history import TaskFilter
from everpost.store.postgresql.care.care import month_of
from everpost.task.model import new_task_id
from everpost.task.place import Place
from everpost.testing import eventually
from postgresql.kit import PostgresqlKit
from store_contract.making import add_ended
from store_rows import ids, make_task, remove

PARTITIONS = "SELECT job_id, tableoid::regclass::text FROM publish_tasks"
MONTH_MS = 31 * 86_400_000
IN_2030 = round(datetime(2030, 5, 17, 12, tzinfo=UTC).timestamp() * 1000)


def months(kit: PostgresqlKit) -> set[str]:
    """The months that have partitions."""
    rows = kit.select("SELECT relid::regclass::text FROM pg_partition_tree('publish_tasks') WHERE isleaf")
    return {name.removeprefix("publish_tasks_") for (name,) in rows} - {"above", "below", "default"}


async def test_a_task_is_in_the_partition_of_its_month_and_foreign_ids_are_apart(
    store: Store, kit: PostgresqlKit
) -> None:
    now = datetime.now(UTC)
    ours = new_task_id(round(now.timestamp() * 1000))
    foreign = [str(UUID(int=value << 120, version=4)) for value in (0xC0, 0xFE)]
    old = new_task_id(round(datetime(2023, 5, 1, tzinfo=UTC).timestamp() * 1000))
    await add_ended(store, *(make_task(task_id) for task_id in (ours, *foreign, old, "short")))
    kit.add(Place.HISTORY, {"task_id": None, "status": "success"})
    places = dict(kit.select(PARTITIONS))
    assert places[ours] == f"publish_tasks_{now:%Y_%m}"
    assert {places[task_id] for task_id in (*foreign, "short")} == {"publish_tasks_above"}
    assert places[old] == "publish_tasks_below"
    assert places[None] == "publish_tasks_default"


async def test_upkeep_makes_the_months_ahead(store: Store, kit: PostgresqlKit) -> None:
    assert not months(kit) & {"2030_05", "2030_06", "2030_07"}
    await store.care.tend(IN_2030)
    assert months(kit) >= {"2030_05", "2030_06", "2030_07"}
    before = months(kit)
    await store.care.tend(IN_2030)
    assert months(kit) == before


async def test_tasks_of_a_month_that_was_not_made_ahead_move_into_it(store: Store, kit: PostgresqlKit) -> None:
    early, late = new_task_id(IN_2030), new_task_id(IN_2030 + 40 * 86_400_000)
    await add_ended(store, make_task(early), make_task(late), "other")
    await store.care.fill_search()
    await add_ended(store, make_task(new_task_id(IN_2030 + 1)))

    async def answers() -> list[object]:
        wanted = (TaskFilter(), TaskFilter(status="failed"), TaskFilter(account_id="a"), TaskFilter(q="测试"))
        pages = [await store.history.page(each, limit=2, counted=True) for each in wanted]
        return [*pages, await store.history.find_task(early), await store.history.summary()]

    before = await answers()
    assert set(dict(kit.select(PARTITIONS)).values()) == {"publish_tasks_default", "publish_tasks_above"}
    await store.care.tend(IN_2030)
    assert kit.select("SELECT count(*) FROM publish_tasks_default") == [(0,)]
    assert kit.select("SELECT count(*) FROM publish_tasks_search_2030_05") == [(1,)]
    assert dict(kit.select(PARTITIONS))[late] == "publish_tasks_2030_06"
    assert await answers() == before
    assert await store.care.repair_counts() == 0
    assert not kit.find_faults()


async def test_a_month_waits_a_moment_only_for_those_who_read(store: Store, address: str, kit: PostgresqlKit) -> None:
    """Behind a lock that waits, every list would wait."""
    await add_ended(store, "a")
    with psycopg.connect(address) as reader:
        reader.execute("SELECT count(*) FROM publish_tasks")  # its locks last until the end of its transaction
        with pytest.raises(DatabaseBusy):
            await store.care.tend(IN_2030)
        assert ids((await store.history.page(TaskFilter())).items) == ["a"]
    assert "2030_05" not in months(kit)
    await store.care.tend(IN_2030)
    assert "2030_05" in months(kit)


async def test_a_status_is_counted_wherever_its_task_is(store: Store, kit: PostgresqlKit) -> None:
    await add_ended(store, make_task("foreign"), make_task(new_task_id(IN_2030)))
    await store.care.tend(IN_2030)
    kit.change(Place.HISTORY, None, status="success")
    assert (await store.history.summary()).by_status == {"success": 2}
    kit.remove(Place.HISTORY, "foreign")
    await store.care.tend(IN_2030)
    assert (await store.history.summary()).by_status == {"success": 1}
    assert await store.care.repair_counts() == 0


async def test_a_month_whose_tasks_were_all_archived_loses_its_partition(
    store: Store, address: str, kit: PostgresqlKit
) -> None:
    gone, kept = new_task_id(IN_2030), new_task_id(IN_2030 + MONTH_MS)
    await store.care.tend(IN_2030)
    await add_ended(store, make_task(gone), make_task(kept))
    await store.care.fill_search()
    await remove(store, gone)
    kit.execute("VACUUM ANALYZE publish_tasks, publish_tasks_search")
    await store.care.tend(IN_2030 + MONTH_MS)
    assert "2030_05" in months(kit)  # tasks may still end in it
    with psycopg.connect(address) as reader:
        reader.execute("SELECT count(*) FROM publish_tasks")
        with pytest.raises(DatabaseBusy):
            await store.care.tend(IN_2030 + 6 * MONTH_MS)
    await store.care.tend(IN_2030 + 6 * MONTH_MS)
    assert months(kit) & {"2030_05", "2030_06", "2030_07"} == {"2030_06"}
    assert kit.select("SELECT to_regclass('publish_tasks_search_2030_05')") == [(None,)]
    assert ids((await store.history.page(TaskFilter(q="测试"))).items) == [kept]
    late = new_task_id(IN_2030 + 1)
    await add_ended(store, make_task(late))
    assert dict(kit.select(PARTITIONS))[late] == "publish_tasks_default"
    assert await store.care.repair_counts() == 0


def test_the_months_ahead_and_behind_cross_the_end_of_a_year() -> None:
    november = round(datetime(2026, 11, 30, 23, 59, tzinfo=UTC).timestamp() * 1000)
    assert [month_of(november, ahead) for ahead in (0, 1, 2, -11)] == [
        date(2026, 11, 1),
        date(2026, 12, 1),
        date(2027, 1, 1),
        date(2025, 12, 1),
    ]


WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_the_words_of_a_task_that_leaves_the_history_meanwhile_are_not_kept(
    store: Store, address: str, kit: PostgresqlKit
) -> None:
    await add_ended(store, make_task("gone"), make_task("kept"))
    with psycopg.connect(address) as archiving:
        archiving.execute("DELETE FROM publish_tasks WHERE job_id = 'gone'")  # as archive_tasks.sql does
        filling = asyncio.ensure_future(store.care.fill_search())

        async def is_decided() -> bool:
            return filling.done() or kit.select(WAITS) == [(1,)]

        await eventually(is_decided)
    assert await filling == 2
    assert kit.select("SELECT job_id FROM publish_tasks_search") == [("kept",)]
