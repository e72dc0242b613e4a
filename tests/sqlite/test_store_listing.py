"""A list is one order over ledger and history; its pages neither repeat nor miss a task, whatever moves meanwhile."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everpost.clock import to_text
from everpost.errors import InvalidValue
from everpost.platforms import Catalogue
from everpost.store.history import MAX_LIMIT, TaskFilter
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.lists.cursor import Key, read_cursor, write_cursor
from everpost.store.sqlite.lists.detail import DAMAGED
from everpost.store.sqlite.lists.filters import time_bounds
from everpost.store.sqlite.lists.finder import zone_in_question
from everpost.store.sqlite.lists.history import SqliteHistory
from everpost.task.model import ErrorClass, TaskStatus
from everpost.task.place import Place
from store_rows import START_MS, accept, add_ended, end, ids, insert, make_task

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


async def all_ids(listing: SqliteHistory, wanted: TaskFilter | None = None, limit: int = 2) -> list[str]:
    """The whole list, page by page."""
    found, cursor = [], None
    while True:
        page = await listing.page(wanted or TaskFilter(), cursor, limit)
        found += ids(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return found


def inherited(job_id: str | None, created_at: str | None, **changed: Any) -> dict[str, Any]:
    """A history row of an original file."""
    return {"job_id": job_id, "platform": "3", "status": "success", "created_at": created_at} | changed


async def test_filters_are_joined_by_and_over_both_tables(database: Database) -> None:
    await add_ended(database, make_task("f1"), make_task("f2", account_id="b", platform="bilibili"))
    await add_ended(database, make_task("s1", batch_id="B"), status=TaskStatus.SUCCESS)
    await accept(
        database,
        make_task("p1", batch_id="B"),
        make_task("p2", retry_of="f1", root_id="f1", generation=1),
        make_task("later", due_at_ms=START_MS + 60_000),
    )
    await insert(database, "publish_tasks", inherited("old", "2025-01-01 08:00:00"))
    listing = SqliteHistory(database)
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({}, {"f1", "f2", "s1", "p1", "p2", "later", "old"}),
        ({"status": "failed"}, {"f1", "f2"}),
        ({"status": "pending"}, {"p1", "p2"}),
        ({"status": "scheduled"}, {"later"}),
        ({"status": "success", "platform": ("douyin", "3")}, {"s1", "old"}),
        ({"platform": ("bilibili", "5")}, {"f2"}),
        ({"account_id": "b"}, {"f2"}),
        ({"account_id": "a", "status": "failed", "platform": ("douyin", "3")}, {"f1"}),
        ({"error_class": "auth", "account_id": "a"}, {"f1"}),
        ({"batch_id": "B"}, {"s1", "p1"}),
        ({"batch_id": "B", "status": "success"}, {"s1"}),
        ({"retry_of": "f1"}, {"p2"}),
        ({"task_ids": ("p1", "f2", "nobody")}, {"p1", "f2"}),
        ({"task_ids": ()}, set()),
        ({"task_ids": ("f1", "p1"), "status": "failed"}, {"f1"}),
        ({"place": Place.LEDGER}, {"p1", "p2", "later"}),
        ({"place": Place.LEDGER, "error_class": "auth"}, set()),
        ({"status": "nonsense"}, set()),
    ]
    for fields, expected in cases:
        wanted = TaskFilter(**fields)
        assert set(await all_ids(listing, wanted)) == expected, fields
        total = await listing.total(wanted)
        assert (total.total, total.total_is_exact) == (len(expected), True), fields


async def test_the_newest_come_first_and_rows_without_a_time_last(database: Database) -> None:
    await insert(
        database,
        "publish_tasks",
        inherited("undated", None),
        inherited("also undated", None),
        inherited("old", "2025-03-01 08:00:00"),
        inherited(None, "2025-03-01 08:00:00"),
    )
    await add_ended(database, make_task("c", created_at_ms=START_MS + 1), make_task("b"))
    await accept(database, make_task("a"), make_task("d", created_at_ms=START_MS + 2))
    for limit in (1, 2, 3, 100):
        found = await all_ids(SqliteHistory(database), limit=limit)
        assert found == ["d", "c", "b", "a", "old", "undated", "also undated"]


async def test_an_id_an_original_file_has_twice_is_one_task(database: Database) -> None:
    row = {"task_id": "twice", "task_type": "publish", "status": "failed", "created_at": "2025-03-01 08:00:00"}
    await insert(database, "task_queue", row)
    await insert(database, "publish_tasks", inherited("twice", "2025-03-01 08:00:00"))
    await accept(database, make_task("new"))
    for limit in (1, 2, 3):
        assert await all_ids(SqliteHistory(database), limit=limit) == ["new", "twice"]


@pytest.mark.parametrize("zone", [UTC, SHANGHAI, ZoneInfo("America/New_York")])
async def test_created_after_and_before_read_inherited_times_in_the_zone(database: Database, zone: Any) -> None:
    listing = SqliteHistory(database, zone)
    start = datetime(2026, 3, 8, 12, tzinfo=UTC)
    texts = {}
    for hours in range(-60, 60, 5):
        at_ms = round(start.timestamp() * 1000) + hours * 3_600_000
        local = datetime.fromtimestamp(at_ms / 1000, zone)
        texts[f"naive{hours}"] = (at_ms, local.strftime("%Y-%m-%d %H:%M:%S"))
        texts[f"short{hours}"] = (at_ms, local.strftime("%Y-%m-%d %H:%M"))
        texts[f"iso{hours}"] = (at_ms, local.strftime("%Y-%m-%dT%H:%M:%S"))
        texts[f"ours{hours}"] = (at_ms, to_text(at_ms))
    await insert(database, "publish_tasks", *(inherited(name, text) for name, (_, text) in texts.items()))
    for after in (-60, -25, 0, 5):
        for before in (-10, 0, 30, 60):
            low = round(start.timestamp() * 1000) + after * 3_600_000
            high = round(start.timestamp() * 1000) + before * 3_600_000
            expected = {name for name, (at_ms, _) in texts.items() if low <= at_ms < high}
            wanted = TaskFilter(created_after_ms=low, created_before_ms=high)
            assert set(await all_ids(listing, wanted, 1_000)) == expected
    extremes = TaskFilter(created_after_ms=-(10**15), created_before_ms=10**15)
    assert len(await all_ids(listing, extremes, 1_000)) == len(texts)


async def test_local_times_are_looked_for_only_where_a_row_has_one(database: Database) -> None:
    """Else a list before a time would go through all tasks of the hours that local times may be off."""
    noon_ms = round(datetime(2026, 3, 8, 12, tzinfo=UTC).timestamp() * 1000)
    wanted = TaskFilter(created_before_ms=noon_ms)

    async def zone() -> Any:
        return await database.read(lambda connection: zone_in_question(connection, wanted, SHANGHAI))

    ours = {"task_id": "ours", "task_type": "publish", "created_at": "2026-03-08T15:00:00.000Z"}
    await insert(database, "task_queue", ours)
    await insert(database, "publish_tasks", inherited("far", "2025-03-01 08:00:00"))
    assert await zone() is None
    assert time_bounds(wanted, None) == ("", "2026-03-08T12:00:00.000Z")
    await insert(database, "publish_tasks", inherited("near", "2026-03-08T19:00:00"))
    assert await zone() is SHANGHAI
    assert time_bounds(wanted, SHANGHAI)[1] > "2026-03-08T19:00:00"


async def test_inherited_rows_show_what_their_json_holds_in_utc(database: Database) -> None:
    row = {"task_id": "old", "task_type": "publish", "status": "pending", "created_at": "2025-03-01 08:00:00"}
    await insert(
        database,
        "task_queue",
        row | {"data": '{"platform": 3, "account_id": "a", "title": "测试"}'},
        row | {"task_id": "damaged", "data": '{"platform": '},
    )
    listing = SqliteHistory(database, SHANGHAI)
    damaged, old = sorted((await listing.page(TaskFilter())).items, key=lambda item: item.task_id)
    assert (str(old.platform), old.account_id, old.title) == ("3", "a", "测试")
    assert (old.inherited, old.place, old.created_at) == (True, Place.LEDGER, "2025-03-01T00:00:00.000Z")
    assert (damaged.platform, damaged.account_id) == (None, None)
    assert await all_ids(listing, TaskFilter(platform=("douyin", "3"), account_id="a")) == ["old"]


@pytest.mark.parametrize("cursor", ["", "x", "e30", "%%%", "W10", "bnVsbA", "a" * 5_000, "测试", "WzEsMl0", "AA=="])
async def test_what_is_no_cursor_is_refused_with_its_path(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        await SqliteHistory(database).page(TaskFilter(), cursor)
    assert refused.value.path == "$.cursor"


@given(st.one_of(st.none(), st.text(max_size=40)), st.text(max_size=80))
def test_a_cursor_is_read_as_it_was_written(created_at: str | None, task_id: str) -> None:
    assert read_cursor(write_cursor(Key(created_at, task_id))) == Key(created_at, task_id)


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
async def test_a_limit_out_of_range_is_refused(database: Database, limit: int) -> None:
    with pytest.raises(InvalidValue) as refused:
        await SqliteHistory(database).page(TaskFilter(), limit=limit)
    assert refused.value.path == "$.limit"


async def test_a_total_is_exact_where_triggers_count_and_elsewhere_up_to_a_limit(database: Database) -> None:
    await add_ended(database, *(make_task(f"{number:02}") for number in range(12)))
    await accept(database, make_task("p"))
    listing = SqliteHistory(database)
    exact = await listing.total(TaskFilter(status="failed", platform=("douyin", "3")), limit=5)
    assert (exact.total, exact.total_is_exact) == (12, True)
    counted = await listing.total(TaskFilter(account_id="a"), limit=5)
    assert (counted.total, counted.total_is_exact) == (5, False)
    whole = await listing.total(TaskFilter(account_id="a"), limit=None)
    assert (whole.total, whole.total_is_exact) == (13, True)


async def test_the_summary_knows_a_platform_by_all_its_spellings(database: Database) -> None:
    await add_ended(database, make_task("a"), make_task("b"))
    await accept(database, make_task("c"))
    await insert(database, "publish_tasks", inherited("old", "2025-01-01 08:00:00"), inherited("x", None, platform="?"))
    summary = await SqliteHistory(database, UTC).summary(Catalogue.read(None).name_of)
    assert summary.total == 5
    assert summary.by_status == {"failed": 2, "pending": 1, "success": 2}
    assert summary.by_platform == {"douyin": 4, "?": 1}
    assert summary.by_platform_and_status["douyin"] == {"failed": 2, "pending": 1, "success": 1}


async def test_a_task_is_found_whole_wherever_it_lies(database: Database) -> None:
    history = SqliteHistory(database, SHANGHAI)
    await accept(database, make_task("root", extra={"deep": [1, None]}))
    waiting = await history.find_task("root")
    assert waiting is not None
    assert (waiting.place, waiting.status) == (Place.LEDGER, "pending")
    await end(database, "root")
    await accept(database, make_task("again", retry_of="root", root_id="root", generation=1))
    root, again = await history.find_task("root"), await history.find_task("again")
    assert root is not None
    assert again is not None
    assert root.task_data is not None
    assert msgspec.json.decode(root.task_data["extra"]) == {"deep": [1, None]}
    assert (root.error_class, root.error_message) == (ErrorClass.AUTH, "Sign in again")
    assert [(retry.task_id, retry.status) for retry in root.retries] == [("again", "pending")]
    assert (again.retry_of, again.root_id, again.generation) == ("root", "root", 1)
    assert await history.find_task("nobody") is None


async def test_damaged_data_is_shown_as_text_with_a_note(database: Database) -> None:
    for name, data in {"cut": '{"title": "测', "list": "[1]", "bytes": b"\xff{"}.items():
        await insert(database, "publish_tasks", inherited(name, "2025-01-01 08:00:00", task_data=data))
        task = await SqliteHistory(database, SHANGHAI).find_task(name)
        assert task is not None
        assert (task.task_data, task.note) == (None, DAMAGED)
        assert task.task_data_text
        assert task.created_at == "2025-01-01T00:00:00.000Z"


times = st.integers(0, 3)  # few, so that many tasks share a millisecond
moves = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([TaskStatus.SUCCESS, TaskStatus.FAILED])), max_size=30)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(times, min_size=1, max_size=30), st.integers(1, 7), moves)
def test_pages_read_while_tasks_complete_are_the_whole_list_once(
    created: list[int], limit: int, ended: list[tuple[int, TaskStatus]]
) -> None:
    asyncio.run(_read_while_tasks_complete(created, limit, ended))


async def _read_while_tasks_complete(created: list[int], limit: int, ended: list[tuple[int, TaskStatus]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(Path(folder) / "everpost.db")
        tasks = [make_task(f"t{n}", created_at_ms=START_MS + at) for n, at in enumerate(created)]
        await accept(database, *tasks)
        listing, found, waiting = SqliteHistory(database), [], {task.task_id for task in tasks}
        cursor, pending = None, list(ended)
        while True:
            page = await listing.page(TaskFilter(), cursor, limit)
            found += ids(page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
            for number, status in [pending.pop() for _ in range(min(3, len(pending)))]:
                if f"t{number}" in waiting:
                    waiting.remove(f"t{number}")
                    await end(database, f"t{number}", status=status)
        await database.close()
    order = sorted(tasks, key=lambda task: (task.created_at_ms, task.task_id), reverse=True)
    assert found == [task.task_id for task in order]
