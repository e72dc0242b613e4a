"""The history's part of the contract: lists in one order over ledger and history, counts, and tasks found by id.

The pages of a list neither repeat nor miss a task, whatever moves meanwhile.
"""

import asyncio
import tempfile
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
from everpost.store import Store, open_store
from everpost.store.history import MAX_IDS, MAX_LIMIT, History, TaskFilter
from everpost.task.model import ErrorClass, TaskStatus
from everpost.task.place import Place
from store_contract.conftest import Stores
from store_contract.making import accept, add_ended, end
from store_kit import StoreKit, kit_of
from store_rows import START_MS, ids, make_task, remove
from stores import ADDRESSES

SHANGHAI = ZoneInfo("Asia/Shanghai")


async def all_ids(history: History, wanted: TaskFilter | None = None, limit: int = 2) -> list[str]:
    """The whole list, page by page."""
    found, cursor = [], None
    while True:
        page = await history.page(wanted or TaskFilter(), cursor, limit)
        found += ids(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return found


def inherited(task_id: str | None, created_at: str | None, **changed: Any) -> dict[str, Any]:
    """A history row of an original file."""
    return {"task_id": task_id, "platform": "3", "status": "success", "created_at": created_at} | changed


async def test_rows_are_found_by_their_ids_wherever_they_are(store: Store, kit: StoreKit) -> None:
    await add_ended(store, make_task("ended", platform="bilibili"))
    await accept(store, make_task("waits", retry_of="ended", root_id="ended", generation=1))
    kit.add(Place.HISTORY, inherited("old", "2025-01-01 08:00:00"))
    rows = {row.task_id: row for row in await store.history.find_rows(["waits", "ended", "old", "nobody"])}
    assert {task_id: row.place for task_id, row in rows.items()} == {
        "ended": Place.HISTORY,
        "waits": Place.LEDGER,
        "old": Place.HISTORY,
    }
    assert (rows["ended"].status, rows["ended"].platform, rows["waits"].retry_of) == ("failed", "bilibili", "ended")
    page = await store.history.page(TaskFilter(task_ids=("waits", "ended", "old")))
    assert {row.task_id: row for row in page.items} == rows
    assert await store.history.find_rows([]) == []


async def test_filters_are_joined_by_and_over_both_tables(store: Store, kit: StoreKit) -> None:
    await add_ended(store, make_task("f1"), make_task("f2", account_id="b", platform="bilibili"))
    await add_ended(store, make_task("s1", batch_id="B"), status=TaskStatus.SUCCESS)
    await accept(
        store,
        make_task("p1", batch_id="B"),
        make_task("p2", retry_of="f1", root_id="f1", generation=1),
        make_task("later", due_at_ms=START_MS + 60_000),
    )
    kit.add(Place.HISTORY, inherited("old", "2025-01-01 08:00:00"))
    listing = store.history
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


async def test_the_newest_come_first_and_rows_without_a_time_last(store: Store, kit: StoreKit) -> None:
    kit.add(
        Place.HISTORY,
        inherited("undated", None),
        inherited("also undated", None),
        inherited("old", "2025-03-01 08:00:00"),
        inherited(None, "2025-03-01 08:00:00"),
    )
    await add_ended(store, make_task("c", created_at_ms=START_MS + 1), make_task("b"))
    await accept(store, make_task("a"), make_task("d", created_at_ms=START_MS + 2))
    for limit in (1, 2, 3, 100):
        found = await all_ids(store.history, limit=limit)
        assert found == ["d", "c", "b", "a", "old", "undated", "also undated"]


async def test_an_id_an_original_file_has_twice_is_one_task(store: Store, kit: StoreKit) -> None:
    row = {"task_id": "twice", "task_type": "publish", "status": "failed", "created_at": "2025-03-01 08:00:00"}
    kit.add(Place.LEDGER, row)
    kit.add(Place.HISTORY, inherited("twice", "2025-03-01 08:00:00"))
    await accept(store, make_task("new"))
    for limit in (1, 2, 3):
        assert await all_ids(store.history, limit=limit) == ["new", "twice"]


@pytest.mark.parametrize("zone", [UTC, SHANGHAI, ZoneInfo("America/New_York")])
async def test_created_after_and_before_read_inherited_times_in_the_zone(stores: Stores, zone: Any) -> None:
    store = await stores.open(zone=zone)
    listing, kit = store.history, kit_of(stores.address)
    start = datetime(2026, 3, 8, 12, tzinfo=UTC)
    texts = {}
    for hours in range(-60, 60, 5):
        at_ms = round(start.timestamp() * 1000) + hours * 3_600_000
        local = datetime.fromtimestamp(at_ms / 1000, zone)
        texts[f"naive{hours}"] = (at_ms, local.strftime("%Y-%m-%d %H:%M:%S"))
        texts[f"short{hours}"] = (at_ms, local.strftime("%Y-%m-%d %H:%M"))
        texts[f"iso{hours}"] = (at_ms, local.strftime("%Y-%m-%dT%H:%M:%S"))
        texts[f"ours{hours}"] = (at_ms, to_text(at_ms))
    kit.add(Place.HISTORY, *(inherited(name, text) for name, (_, text) in texts.items()))
    for after in (-60, -25, 0, 5):
        for before in (-10, 0, 30, 60):
            low = round(start.timestamp() * 1000) + after * 3_600_000
            high = round(start.timestamp() * 1000) + before * 3_600_000
            expected = {name for name, (at_ms, _) in texts.items() if low <= at_ms < high}
            wanted = TaskFilter(created_after_ms=low, created_before_ms=high)
            assert set(await all_ids(listing, wanted, 1_000)) == expected
    extremes = TaskFilter(created_after_ms=-(10**15), created_before_ms=10**15)
    assert len(await all_ids(listing, extremes, 1_000)) == len(texts)


@pytest.mark.parametrize("text", ["2026-03-08 15:00:00", "2026-03-08T15:00:00"])
async def test_a_single_local_time_is_compared_by_its_zone(stores: Stores, text: str) -> None:
    """It is 07:00 UTC. As a text it is behind a bound that it lies before."""
    store = await stores.open(zone=SHANGHAI)
    kit_of(stores.address).add(Place.HISTORY, inherited("local", text))
    for hour, is_later in ((6, True), (8, False), (12, False), (16, False)):
        at_ms = round(datetime(2026, 3, 8, hour, tzinfo=UTC).timestamp() * 1000)
        assert await all_ids(store.history, TaskFilter(created_after_ms=at_ms)) == (["local"] if is_later else [])
        assert await all_ids(store.history, TaskFilter(created_before_ms=at_ms)) == ([] if is_later else ["local"])


async def test_inherited_rows_show_what_their_json_holds_in_utc(stores: Stores, kit: StoreKit) -> None:
    row = {"task_id": "old", "task_type": "publish", "status": "pending", "created_at": "2025-03-01 08:00:00"}
    kit.add(
        Place.LEDGER,
        row | {"data": '{"platform": 3, "account_id": "a", "title": "测试"}'},
        row | {"task_id": "damaged", "data": '{"platform": '},
    )
    listing = (await stores.open(zone=SHANGHAI)).history
    damaged, old = sorted((await listing.page(TaskFilter())).items, key=lambda item: item.task_id)
    assert (str(old.platform), old.account_id, old.title) == ("3", "a", "测试")
    assert (old.inherited, old.place, old.created_at) == (True, Place.LEDGER, "2025-03-01T00:00:00.000Z")
    assert (damaged.platform, damaged.account_id) == (None, None)
    assert await all_ids(listing, TaskFilter(platform=("douyin", "3"), account_id="a")) == ["old"]


@pytest.mark.parametrize("cursor", ["", "x", "e30", "%%%", "W10", "bnVsbA", "a" * 5_000, "测试", "WzEsMl0", "AA=="])
async def test_an_invalid_cursor_is_refused_with_its_path(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        await store.history.page(TaskFilter(), cursor)
    assert refused.value.path == "$.cursor"


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
async def test_a_limit_out_of_range_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(InvalidValue) as refused:
        await store.history.page(TaskFilter(), limit=limit)
    assert refused.value.path == "$.limit"


async def test_a_total_is_exact_where_triggers_count_and_elsewhere_up_to_a_limit(store: Store, kit: StoreKit) -> None:
    await add_ended(store, *(make_task(f"{number:02}") for number in range(12)))
    await accept(store, make_task("p"))
    listing = store.history
    exact = await listing.total(TaskFilter(status="failed", platform=("douyin", "3")), limit=5)
    assert (exact.total, exact.total_is_exact) == (12, True)
    counted = await listing.total(TaskFilter(account_id="a"), limit=5)
    assert (counted.total, counted.total_is_exact) == (5, False)
    whole = await listing.total(TaskFilter(account_id="a"), limit=None)
    assert (whole.total, whole.total_is_exact) == (13, True)


async def test_the_summary_knows_a_platform_by_all_its_spellings(store: Store, kit: StoreKit) -> None:
    await add_ended(store, make_task("a"), make_task("b"))
    await accept(store, make_task("c"))
    kit.add(Place.HISTORY, inherited("old", "2025-01-01 08:00:00"), inherited("x", None, platform="?"))
    summary = await store.history.summary(Catalogue.read(None).name_of)
    assert summary.total == 5
    assert summary.by_status == {"failed": 2, "pending": 1, "success": 2}
    assert summary.by_platform == {"douyin": 4, "?": 1}
    assert summary.by_platform_and_status["douyin"] == {"failed": 2, "pending": 1, "success": 1}


async def test_a_task_is_found_whole_wherever_it_lies(store: Store, kit: StoreKit) -> None:
    history = store.history
    await accept(store, make_task("root", extra={"deep": [1, None]}))
    waiting = await history.find_task("root")
    assert waiting is not None
    assert (waiting.place, waiting.status) == (Place.LEDGER, "pending")
    await end(store, "root")
    await accept(store, make_task("again", retry_of="root", root_id="root", generation=1))
    root, again = await history.find_task("root"), await history.find_task("again")
    assert root is not None
    assert again is not None
    assert root.task_data is not None
    assert msgspec.json.decode(root.task_data["extra"]) == {"deep": [1, None]}
    assert (root.error_class, root.error_message) == (ErrorClass.AUTH, "Sign in again")
    assert [(retry.task_id, retry.status) for retry in root.retries] == [("again", "pending")]
    assert (again.retry_of, again.root_id, again.generation) == ("root", "root", 1)
    assert await history.find_task("nobody") is None


async def test_damaged_data_is_shown_as_text_with_a_note(stores: Stores, kit: StoreKit) -> None:
    store = await stores.open(zone=SHANGHAI)
    for name, data in {"cut": '{"title": "测', "list": "[1]", "bytes": b"\xff{"}.items():
        kit.add(Place.HISTORY, inherited(name, "2025-01-01 08:00:00", data=data))
        task = await store.history.find_task(name)
        assert task is not None
        assert task.task_data is None
        assert task.note
        assert task.task_data_text
        assert task.created_at == "2025-01-01T00:00:00.000Z"


times = st.integers(0, 3)  # few, so that many tasks share a millisecond
moves = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([TaskStatus.SUCCESS, TaskStatus.FAILED])), max_size=30)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(created=st.lists(times, min_size=1, max_size=30), limit=st.integers(1, 7), ended=moves)
@pytest.mark.parametrize("kind", ADDRESSES)
def test_pages_read_while_tasks_complete_are_the_whole_list_once(
    kind: str, created: list[int], limit: int, ended: list[tuple[int, TaskStatus]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_read_while_tasks_complete(ADDRESSES[kind](Path(folder)), created, limit, ended))


async def _read_while_tasks_complete(
    address: str, created: list[int], limit: int, ended: list[tuple[int, TaskStatus]]
) -> None:
    store = await open_store(address)
    tasks = [make_task(f"t{n}", created_at_ms=START_MS + at) for n, at in enumerate(created)]
    await accept(store, *tasks)
    found, waiting = [], {task.task_id for task in tasks}
    cursor, pending = None, list(ended)
    while True:
        page = await store.history.page(TaskFilter(), cursor, limit)
        found += ids(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
        for number, status in [pending.pop() for _ in range(min(3, len(pending)))]:
            if f"t{number}" in waiting:
                waiting.remove(f"t{number}")
                await end(store, f"t{number}", status=status)
    await store.close()
    order = sorted(tasks, key=lambda task: (task.created_at_ms, task.task_id), reverse=True)
    assert found == [task.task_id for task in order]


async def test_a_page_of_ids_is_the_ids_of_a_page_and_their_cursors_are_the_same(store: Store) -> None:
    await add_ended(store, *(make_task(f"f{number}", created_at_ms=START_MS + number) for number in range(5)))
    await accept(store, make_task("other", account_id="b"))
    wanted = TaskFilter(account_id="a")
    for cursor, limit in ((None, 2), (None, 5)):
        page = await store.history.page(wanted, cursor, limit)
        found, following = await store.history.page_ids(wanted, cursor, limit)
        assert (found, following) == (ids(page.items), page.next_cursor)
    page = await store.history.page(wanted, limit=2)
    assert await store.history.page_ids(wanted, page.next_cursor, MAX_IDS) == (["f2", "f1", "f0"], None)
    with pytest.raises(InvalidValue):
        await store.history.page_ids(wanted, limit=MAX_IDS + 1)


async def test_a_page_with_its_total_equals_both_answers(store: Store) -> None:
    await add_ended(store, *(make_task(f"f{number}") for number in range(3)))
    await accept(store, "waiting")
    for wanted in (TaskFilter(), TaskFilter(status="failed"), TaskFilter(account_id="a"), TaskFilter(account_id="b")):
        page = await store.history.page(wanted, limit=2, counted=True)
        uncounted = await store.history.page(wanted, limit=2)
        assert (uncounted.items, uncounted.next_cursor, uncounted.total) == (page.items, page.next_cursor, None)
        assert page.total == await store.history.total(wanted)
    with pytest.raises(InvalidValue):
        await store.history.page(TaskFilter(), "no cursor", counted=True)


async def test_ids_are_found_by_their_beginning_in_every_place(store: Store, kit: StoreKit) -> None:
    await accept(store, "aa-2")
    await add_ended(store, "aa-22", "ab-1", "AA-3")
    kit.add(Place.ARCHIVE, {"task_id": "aa-1", "status": "failed", "title": "t", "created_at": "2026-01-01T00:00:00Z"})

    async def found(prefix: str, limit: int = 10) -> list[str]:
        return [match.task_id for match in await store.history.find_ids(prefix, limit)]

    assert await found("a") == ["ab-1", "aa-22", "aa-2", "aa-1"]
    assert await found("aa-2") == ["aa-2", "aa-22"]  # the id itself first
    assert await found("aa", limit=2) == ["aa-22", "aa-2"]
    assert await found("aa-_") == await found("a%") == await found("b") == []
    (match,) = await store.history.find_ids("aa-1", 1)
    assert (match.place, match.status, match.title) == (Place.ARCHIVE, "failed", "t")


async def test_a_task_is_found_in_some_place_at_every_moment_of_its_way(store: Store, other: Store) -> None:
    task_ids = [f"t{number:02}" for number in range(40)]
    await accept(store, *task_ids)

    async def end_all() -> None:
        for task_id in task_ids:
            await end(other, task_id)

    ending = asyncio.create_task(end_all())
    while not ending.done():
        found = await store.history.page_ids(TaskFilter(), limit=100)
        assert sorted(found[0]) == task_ids
        for task_id in task_ids[::7]:
            assert await store.history.find_task(task_id) is not None
        summary = await store.history.summary()
        assert summary.total == len(task_ids)
    await ending


async def test_another_processs_write_is_in_the_next_answer(store: Store, other: Store) -> None:
    for number in range(20):
        await accept(other, f"t{number:02}")
        assert await store.history.find_task(f"t{number:02}") is not None
        assert (await store.history.summary()).total == number + 1
        assert (await store.history.total(TaskFilter(account_id="a"))).total == number + 1


async def test_a_list_whose_client_has_hung_up_is_stopped(store: Store) -> None:
    await add_ended(store, *(f"t{number}" for number in range(5)))
    listing = asyncio.create_task(store.history.page(TaskFilter(q="t")))
    await asyncio.sleep(0)
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    assert len((await store.history.page(TaskFilter())).items) == 5


async def test_the_steps_of_an_export_are_the_list_with_a_cursor_behind_each_task(store: Store, kit: StoreKit) -> None:
    kit.add(Place.HISTORY, inherited("old", "2025-01-01 08:00:00"), inherited("undated", None))
    await add_ended(store, *(f"ended{number}" for number in range(3)))
    await accept(store, *(f"waiting{number}" for number in range(3)))
    listed = await all_ids(store.history)
    assert len(listed) == 8
    step = await store.history.step(TaskFilter(), None, 5)
    assert ids(step.tasks) == listed[:5]
    for number, cursor in enumerate(step.cursors):
        behind = await store.history.step(TaskFilter(), cursor, 100)
        assert ids(behind.tasks) == listed[number + 1 :]
    assert ids((await store.history.page(TaskFilter(), step.cursors[1], 2)).items) == listed[2:4]
    last = await store.history.step(TaskFilter(), None, 100)
    assert (await store.history.step(TaskFilter(), last.cursors[-1])).tasks == []
    with pytest.raises(InvalidValue):
        await store.history.step(TaskFilter(), "no cursor")


async def test_data_is_found_in_every_place_as_much_as_fits(store: Store, kit: StoreKit) -> None:
    tasks = [make_task(f"task{number}", description="x" * 1_000) for number in range(4)]
    await accept(store, *tasks[:2])
    await add_ended(store, *tasks[2:])
    await remove(store, "task3")
    kit.add(Place.HISTORY, inherited("without", "2025-01-01 08:00:00"))
    sizes = {task.task_id: task.task_data for task in tasks}
    wanted = ["task3", "without", "task0", "nowhere", "task2", "task1"]
    assert await store.history.data_of(wanted, 1 << 20) == sizes
    most = len(sizes["task3"]) + len(sizes["task0"])
    assert await store.history.data_of(wanted, most) == {name: sizes[name] for name in ("task3", "task0")}
    assert await store.history.data_of(wanted, 1) == {"task3": sizes["task3"]}
    assert await store.history.data_of([], 1) == {}


async def test_a_filter_reaches_whole_platforms_and_single_accounts(store: Store, kit: StoreKit) -> None:
    pairs = [("douyin", "a"), ("3", "b"), ("bilibili", "a"), ("bilibili", "b"), ("xhs", "a")]
    for number, (platform, account_id) in enumerate(pairs):
        task = make_task(f"task{number}", platform=platform, account_id=account_id)
        await (add_ended if number % 2 else accept)(store, task)
    reach = ("douyin", "3", "bilibili\na")
    wanted = TaskFilter(reach=reach)
    assert sorted(ids((await store.history.page(wanted)).items)) == ["task0", "task1", "task2"]
    assert (await store.history.total(wanted)).total == 3
    narrowed = TaskFilter(reach=reach, account_id="a", platform=("bilibili",))
    assert ids((await store.history.page(narrowed)).items) == ["task2"]
    accounts = TaskFilter(reach=("bilibili\na", "bilibili\nb", "douyin\nb"), platform=("bilibili", "douyin"))
    assert ids((await store.history.page(accounts)).items) == ["task3", "task2"]
    assert (await store.history.total(accounts)).total == 2
    assert (await store.history.page(TaskFilter(reach=()))).items == []
