"""The contract of a move between two stores: nothing is lost or changed, and only one of them can ever be opened."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from everpost.actions import move as moving
from everpost.actions.move import Moved, MoveFailed, abandon, foresee, move
from everpost.clock import DAY_MS, SinceBoot, to_text
from everpost.database_address import is_postgresql
from everpost.errors import DatabaseUnusable
from everpost.limits import Limits
from everpost.running_time import count_step
from everpost.store import Store, maintenance_of, open_store
from everpost.store.audit import AuditFilter
from everpost.store.batches import Batch, BatchKind, Posted, Posting
from everpost.store.history import TaskFilter
from everpost.store.ledger import FirstAnswer
from everpost.store.limits import Use
from everpost.store.moving import COLUMNS, Fitted, MovedStore, Row, Table
from everpost.store.traces import TaskTrace
from everpost.task.account_rules import AccountRecord, locked, with_tokens
from everpost.task.duplicate_rules import Guard
from everpost.task.fanout_rules import FanoutItem
from everpost.task.holds import with_limits
from everpost.task.model import TaskStatus
from everpost.task.place import Place
from postgresql_server import shared_server
from store_contract.making import accept, add_ended, attempt_of, end, key_of, once_of
from store_contract.test_audit import entry_of
from store_contract.test_changes import FORCED, NOW_MS, cancel_of, resolve_of, retry_of
from store_contract.test_edits import edit, version_of
from store_contract.test_files import add_upload, file_id_of, record_of, upload_of
from store_contract.test_keys import key_of as api_key_of
from store_contract.test_keys import session_of
from store_contract.test_operations import operation_of
from store_contract.test_recurring import recurring
from store_kit import StoreKit, kit_of
from store_rows import START_MS, begin, make_task, remove
from stores import ADDRESSES

LATER_MS = START_MS + DAY_MS
LANE = "x/账号"
MADE_ANEW = {
    *("task_counts", "task_count_changes"),
    *("publish_tasks_fts", "publish_tasks_search", "publish_tasks_unsearched"),
    "everpost_schema",
    *("failures", "failure_causes", "failure_counts", "failure_count_changes", "timeline"),
}
"""The tables that each store fills itself."""
ROW_NUMBERS = {"task_id", "id", "celery_task_id", "decision_id", "edit_id", "archived_row", "promote_at", "written_in"}
"""The columns that each store fills itself. In the history and the archive of SQLite, `task_id` is a row's number."""
ODD = "测试 😀 \t\"'\\ é"


class Ends:
    """The source and the target of a move."""

    def __init__(self, source: str, target: str, back: str = "") -> None:
        self.source = source
        self.target = target
        self.back = back
        self.reports: list[tuple[Table, Row, Fitted]] = []

    async def move(self) -> Moved:
        async with self.opened() as (source, target):
            self.reports.clear()
            return await move(source, target, lambda *_: None, self._report)

    async def foresee(self) -> Moved:
        async with self.opened() as (source, target):
            return await foresee(source, target, lambda *_: None, self._report)

    async def abandon(self) -> bool:
        source = await maintenance_of(self.source).open_moved()
        try:
            return await abandon(source)
        finally:
            await source.close()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[MovedStore, MovedStore]]:
        source = await maintenance_of(self.source).open_moved()
        try:
            target = await maintenance_of(self.target).open_moved()
            try:
                yield source, target
            finally:
                await target.close()
        finally:
            await source.close()

    def _report(self, table: Table, row: Row, fitted: Fitted) -> None:
        self.reports.append((table, row, fitted))


WAYS = [*itertools.permutations(ADDRESSES, 2)]
BACK_IN_CHAOS = pytest.mark.parametrize(
    "ends", [WAYS[0], *(pytest.param(way, marks=pytest.mark.chaos) for way in WAYS[1:])], indirect=True, ids="-to-".join
)
"""`make test` runs one way only of what is the same for both."""


@pytest.fixture(params=WAYS, ids="-to-".join)
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    """Two stores of each pair of kinds, which are not there yet, and one more for the way back."""
    addresses = []
    for name, kind in zip(("from", "to", "back"), (*request.param, request.param[0]), strict=True):
        folder = tmp_path / name
        folder.mkdir()
        addresses.append(ADDRESSES[kind](folder))
    yield Ends(*addresses)
    for address in filter(is_postgresql, addresses):
        shared_server().give_back(address)


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PORTION", 3)


async def fill(store: Store) -> None:
    """Tasks in every place and state, decisions, keys, operations, values."""
    await store.meta.set("epoch", "this Redis")
    await store.meta.count_time(partial(count_step, wall_ms=START_MS, since_boot=SinceBoot("boot", 5)))
    await accept(store, *(make_task(f"waiting{n}", title=ODD, note=ODD, number=2**70) for n in range(7)))
    await accept(store, make_task("later", due_at_ms=LATER_MS), make_task("sending", priority=0), "again", "gone")
    assert await store.ledger.begin_send("sending", 1, NOW_MS)
    assert await store.ledger.save_checkpoint("sending", 1, f'{{"session":"{ODD[:5]}"}}', NOW_MS)
    await store.traces.keep({"again": TaskTrace("00-a-b-01 state", None)})
    await store.ledger.defer("again", attempt_of(), NOW_MS + 1, spent=True)
    await store.ledger.accept([make_task("keyed", batch_id="B")], START_MS, once_of())
    for status in (TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.UNKNOWN):
        await add_ended(store, *(make_task(f"{status}{n}", nul="\0") for n in range(4)), status=status)
    await accept(store, "resolved", "archived", "deleted", "sent")
    for task_id in ("resolved", "archived"):
        assert await store.ledger.save_checkpoint(task_id, 1, "[1.5,null]", NOW_MS)
    await end(store, "resolved", "archived", "deleted", "sent", status=TaskStatus.UNKNOWN)
    await store.changes.apply(resolve_of("resolved"), NOW_MS)
    await remove(store, "archived", "deleted")
    await store.changes.apply(retry_of(("sent", "sent again"), rule=FORCED), NOW_MS)
    await edit(store, version_of("waiting0", make_task("waiting0", title=ODD, note=ODD, number=2**70).task_data))
    await store.recurring.add(recurring("每周", until_at=to_text(LATER_MS), timezone="Europe/Berlin"))
    operation = operation_of("one", request='{"q":"测"}')
    for begun in (operation, operation_of("two", owner="two")):
        await begin(store, begun)
    await store.operations.release("two")
    await store.operations.advance(operation, cancel_of("nowhere", "failed0", "gone"), [], "there", NOW_MS)
    await store.files.set_root("shared", "/srv/媒体")
    await store.files.keep(record_of(1, root="shared", filename=ODD, duration=12.5, width=1920, size_bytes=2**40))
    await add_upload(store, 2)
    await store.files.begin_upload(upload_of(3, size_bytes=None), 0)
    await store.ledger.accept([make_task("with a file", file_ids=(file_id_of(2),))], START_MS)
    account = AccountRecord(platform="x", account_id=ODD, options={"a": ODD}, credentials={"b": "file:c"})
    await store.accounts.add(account, NOW_MS)
    await store.accounts.change("x", ODD, locked("holder", NOW_MS + 1, NOW_MS), NOW_MS)
    await store.accounts.change("x", ODD, with_tokens("sealed", "holder", NOW_MS), NOW_MS)
    await store.keys.add(api_key_of())
    await store.audit.add(entry_of(details={"a": ODD}))
    await store.keys.begin_session(session_of("session"))
    await store.limits.change(LANE, with_limits(Limits(daily=3)), NOW_MS)
    await store.limits.note_uses([Use("sent", LANE, NOW_MS), Use("sent", LANE, NOW_MS + 1)])
    await store.limits.close(LANE, LATER_MS)
    batch = Batch(
        batch_id="fanout",
        kind=BatchKind.FANOUT,
        items=[FanoutItem(index=0, account_id=ODD, task_id="waiting0"), FanoutItem(index=1, code="invalid_value")],
        created_at=to_text(START_MS),
        callback_url="https://example.com/",
        total=2,
        rejected=1,
        unfinished=1,
    )
    posted = Posted(answer=FirstAnswer("fanout", "{}"), batch=batch)
    guard = Guard(digest="d", at_ms=2**40, window_ms=1, is_checked=True)
    await store.batches.accept(
        Posting(tasks=[make_task("posted", batch_id="fanout")], rule=lambda _: posted, guards={"posted": guard}), NOW_MS
    )
    await accept(store, make_task("called", title="other", batch_id="fanout", callback_url="https://example.com/"))
    await end(store, "called")  # the last of the batch


async def content_of(address: str) -> Any:
    """What the port of a store shows of everything in it; row numbers are each store's own."""
    store = await open_store(address)
    kit = kit_of(address)
    try:
        tasks = kit.tasks()
        details = [await store.history.find_task(task.task_id) for task in tasks]
        return (
            sorted((task.task_id, task.place, str(task)) for task in tasks),
            sorted(msgspec.json.encode(msgspec.structs.replace(detail, row=0)) for detail in details if detail),
            (await store.history.page(TaskFilter(), limit=1_000)).items,
            await store.history.summary(),
            [await store.operations.find(name) for name in ("one", "two")],
            await store.operations.page_done("one", "", 10),
            await store.batches.find("fanout"),
            await store.ledger.find_answer(key_of()),
            [msgspec.structs.replace(record, number=0) for record in await store.files.page(None, 9)],
            await store.files.roots(),
            await store.files.find_upload(file_id_of(3)),
            await store.files.users(file_id_of(2)),
            await store.accounts.page(None, 10),
            await store.keys.all(),
            (await store.audit.page(AuditFilter(), None, 9)).rows,
            await store.keys.find_session("session"),
            await store.meta.get("epoch"),
            await store.meta.get("clock"),
            await store.meta.get("counted_ms"),
            await store.ledger.count_unfinished(),
            await store.recurring.page("", 9),
            await store.traces.find(["again"]),
            await store.limits.find(),
            await store.limits.uses_since(0),
            await store.limits.closures(0),
        )
    finally:
        await store.close()


async def filled(address: str) -> Any:
    store = await open_store(address)
    await fill(store)
    await store.close()
    return await content_of(address)


async def can_be_opened(address: str) -> bool:
    try:
        store = await open_store(address)
    except DatabaseUnusable:
        return False
    await store.close()
    return True


async def test_everything_is_moved_and_compared(ends: Ends) -> None:
    before = await filled(ends.source)
    moved = await ends.move()
    assert {table: tally.rows for table, tally in moved.tables.items()} == {
        "task_queue": 16, "publish_tasks": 16, "publish_tasks_archive": 2, "decisions": 2, "idempotency_keys": 1,
        "operations": 2, "operation_skips": 2, "operation_tasks": 1, "limits": 1, "limit_uses": 2, "limit_closures": 1,
        "batches": 1, "recent_posts": 1, "task_edits": 1, "task_traces": 1, "recurring_posts": 1,
        "file_records": 2, "file_roots": 1, "file_uploads": 1, "file_uses": 1,
        "publish_accounts": 1, "api_keys": 1, "sessions": 1, "audit_log": 1, "everpost_meta": 7,
    }  # fmt: skip
    assert ends.reports == []
    assert await content_of(ends.target) == before


async def test_every_table_and_column_is_moved_or_made_anew(kit: StoreKit) -> None:
    tables = kit.tables()
    assert set(tables) - MADE_ANEW == set(Table), "everpost.store.moving does not have all tables"
    for table in Table:
        assert tables[table] >= set(COLUMNS[table])
        assert tables[table] - ROW_NUMBERS <= set(COLUMNS[table]), f"everpost.store.moving lacks columns of {table}"


async def test_the_new_store_works_on(ends: Ends) -> None:
    await filled(ends.source)
    await ends.move()
    store = await open_store(ends.target)
    assert not await store.ledger.begin_send("sending", 2, NOW_MS)
    assert await store.ledger.promote_due(LATER_MS) == 1
    repeated = once_of(answer="second")
    assert await store.ledger.accept([make_task("other")], START_MS, repeated) == once_of().answer
    while await store.care.fill_search():
        pass
    page = await store.history.page(TaskFilter(q="测试", status="failed"))
    assert len(page.items) == 4
    await add_ended(store, "new", status=TaskStatus.SUCCESS)
    assert (await remove(store, "new", "success0", "success1")) == dict.fromkeys(["new", "success0", "success1"])
    assert await store.care.repair_counts() == 0
    await store.close()


async def test_a_store_that_was_moved_is_closed_and_moves_back(ends: Ends) -> None:
    before = await filled(ends.source)
    await ends.move()
    assert not await can_be_opened(ends.source)
    back = Ends(ends.target, ends.back)
    await back.move()
    assert not await can_be_opened(back.source)
    assert await content_of(back.target) == before


class Stopped(Exception):
    """The move was interrupted."""


POINTS = {"move.closed": 1, "move.begun": 1, "move.copied": 4, "move.compared": 1, "move.given": 1}
"""The points of a move, and at which visit a test interrupts it there."""


def stop_at(monkeypatch: pytest.MonkeyPatch, point: str, visit: int = 1) -> None:
    """Interrupt the next move at this visit of a point."""
    visits: list[str] = []

    def reach(reached: str) -> None:
        visits.append(reached)
        if visits.count(point) == visit:
            raise Stopped(point)

    monkeypatch.setattr(moving, "failpoint", reach)


async def test_a_move_that_is_interrupted_anywhere_goes_on_and_never_leaves_both_open(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await filled(ends.source)
    for point, visit in POINTS.items():
        stop_at(monkeypatch, point, visit)
        with pytest.raises(Stopped):
            await ends.move()
        assert not await can_be_opened(ends.source)
        assert not await can_be_opened(ends.target) or point == "move.closed"
    monkeypatch.setattr(moving, "failpoint", lambda _: None)
    await ends.move()
    assert await content_of(ends.target) == before
    assert not await can_be_opened(ends.source)
    assert (await ends.move()).tables == {}


@BACK_IN_CHAOS
async def test_an_abandoned_move_leaves_the_source_as_it_was(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await filled(ends.source)
    assert not await ends.abandon()
    stop_at(monkeypatch, "move.copied", 3)
    with pytest.raises(Stopped):
        await ends.move()
    assert await ends.abandon()
    assert await content_of(ends.source) == before
    assert not await can_be_opened(ends.target)
    with pytest.raises(DatabaseUnusable, match="unfinished"):
        await ends.move()
    assert await content_of(ends.source) == before


@BACK_IN_CHAOS
async def test_a_finished_move_cannot_be_abandoned(ends: Ends) -> None:
    await filled(ends.source)
    await ends.move()
    with pytest.raises(DatabaseUnusable, match="was moved to"):
        await ends.abandon()


@BACK_IN_CHAOS
async def test_a_store_with_tasks_is_no_target_and_the_source_stays_open(ends: Ends) -> None:
    await filled(ends.source)
    store = await open_store(ends.target)
    await accept(store, "task")
    await store.close()
    with pytest.raises(DatabaseUnusable, match="not empty"):
        await ends.move()
    assert await can_be_opened(ends.source)
    assert kit_of(ends.target).count() == 1


@BACK_IN_CHAOS
async def test_a_store_in_use_is_not_moved(ends: Ends) -> None:
    store = await open_store(ends.source)
    with pytest.raises(DatabaseUnusable):
        await ends.move()
    await accept(store, "task")
    await store.close()
    store = await open_store(ends.target)
    with pytest.raises(DatabaseUnusable):
        await ends.move()
    await store.close()
    assert await can_be_opened(ends.source)


@BACK_IN_CHAOS
async def test_a_copy_that_differs_is_not_opened(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await filled(ends.source)
    stop_at(monkeypatch, "move.copied", 8)
    with pytest.raises(Stopped):
        await ends.move()
    kit_of(ends.target).change(Place.HISTORY, "success0", title="another")
    monkeypatch.setattr(moving, "failpoint", lambda _: None)
    with pytest.raises(MoveFailed, match="publish_tasks differs"):
        await ends.move()
    assert not await can_be_opened(ends.target)
    await ends.abandon()
    assert await content_of(ends.source) == before


@BACK_IN_CHAOS
async def test_what_would_be_moved_is_told_without_moving_it(ends: Ends) -> None:
    before = await filled(ends.source)
    foreseen = await ends.foresee()
    assert await content_of(ends.source) == before
    assert kit_of(ends.target).count() == 0
    assert (await ends.move()).tables == foreseen.tables
