"""What bulk requests leave behind has bounds, and the numbers stay true beyond them."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from everpost.actions.bulk import BulkKind, BulkRequest
from everpost.clock import to_text
from everpost.store.archive import Reason
from everpost.store.changes import Remove
from everpost.store.history import TaskFilter
from everpost.store.operations import KEPT_MS, Operation, OperationStatus
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.tasks import operations as limits
from everpost.store.sqlite.tasks.operations import SqliteOperations
from everpost.task.model import new_task_id
from everpost.task.removal_rules import decide_removal
from everpost.testing import Stack, eventually, everpost_stack
from sqlite.kit import run_sql
from sqlite.rows import insert, select
from store_rows import START_MS

DAY_MS = 86_400_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


async def add(
    database: Database, begun_ms: int, status: str = "done", skips: int = 0, ended_ms: int | None = None
) -> str:
    operation_id = new_task_id(begun_ms)
    row = {"operation_id": operation_id, "kind": "delete", "request": "{}", "status": status, "total": skips}
    times = {"created_at": to_text(begun_ms), "updated_at": to_text(begun_ms if ended_ms is None else ended_ms)}
    await insert(database, "operations", row | times | {"done": skips})
    left_out = [{"operation_id": operation_id, "task_id": f"{n}", "reason": "task_not_found"} for n in range(skips)]
    await insert(database, "operation_skips", *left_out)
    return operation_id


async def kept(database: Database) -> dict[str, int]:
    rows = await select(
        database,
        "SELECT o.operation_id, count(s.task_id) FROM operations o LEFT JOIN operation_skips s USING (operation_id) "
        "GROUP BY o.operation_id",
    )
    return dict(rows)


async def forget_all(database: Database, limit: int = 3) -> None:
    """In small steps, as upkeep does."""
    while forgotten := await SqliteOperations(database).forget_old(START_MS, limit):
        assert forgotten <= 3 * limit


async def test_operations_are_kept_for_a_week_after_their_end(database: Database) -> None:
    old_ms = START_MS - KEPT_MS - DAY_MS
    for _ in range(7):
        await add(database, old_ms, skips=5)
    await add(database, old_ms, "failed")
    running = await add(database, old_ms, "running")
    long = await add(database, old_ms, ended_ms=START_MS)
    new = await add(database, START_MS - KEPT_MS + DAY_MS, skips=5)
    await forget_all(database)
    assert await kept(database) == {running: 0, long: 0, new: 5}
    assert await select(database, "SELECT count(*) FROM operation_skips") == [(5,)]


async def test_no_age_is_known_while_the_clock_is_not_believed(database: Database) -> None:
    old = await add(database, START_MS - 2 * KEPT_MS, skips=1)
    assert await SqliteOperations(database).forget_old(None, 10) == 0
    assert await kept(database) == {old: 1}


async def test_of_many_operations_the_newest_are_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_OPERATIONS", 4)
    added = [await add(database, START_MS - 20 + n, skips=1) for n in range(10)]
    await forget_all(database)
    assert await kept(database) == dict.fromkeys(added[-4:], 1)


async def test_of_many_skips_those_of_the_newest_operations_are_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEPT_SKIPS_OF_ALL", 25)
    added = [await add(database, START_MS - 20 + n, skips=10) for n in range(10)]
    await forget_all(database)
    assert await kept(database) == dict.fromkeys(added[:-3], 0) | dict.fromkeys(added[-3:], 10)


@pytest.mark.parametrize("end", ["done", "failed"])
async def test_the_ids_of_a_request_are_not_kept_beyond_its_end(database: Database, end: str) -> None:
    operations = SqliteOperations(database)
    ids = tuple(f"{n}" for n in range(1_000))
    request = BulkRequest(kind=BulkKind.DELETE, task_ids=ids, filter=TaskFilter(status="failed", task_ids=ids))
    operation = Operation(
        operation_id=new_task_id(START_MS),
        kind="delete",
        request=msgspec.json.encode(request).decode(),
        status=OperationStatus.RUNNING,
        total=len(ids),
        owner="me",
        created_at=to_text(START_MS),
        updated_at=to_text(START_MS),
    )
    await operations.begin(operation)
    nothing = Remove([], Reason.DELETED, decide_removal)
    operation, _ = await operations.advance(operation, nothing, [], "1", START_MS)
    assert msgspec.json.decode(operation.request, type=BulkRequest) == request
    if end == "done":
        await operations.advance(operation, nothing, [], None, START_MS)
    else:
        await operations.fail(operation, "broken", START_MS)
    left = await operations.find(operation.operation_id)
    assert left is not None
    assert left.status == end
    kept = BulkRequest(kind=BulkKind.DELETE, filter=TaskFilter(status="failed"))
    assert msgspec.json.decode(left.request, type=BulkRequest) == kept


async def test_a_worker_removes_old_operations_of_twenty_small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """They left 190,003 rows for ever."""
    monkeypatch.setattr(limits, "KEPT_OPERATIONS", 5)
    monkeypatch.setattr(limits, "KEPT_SKIPS", 50)
    async with everpost_stack(workers=0) as stack:
        for request in range(20):
            body = {"task_ids": [f"{request} {n}" for n in range(400)]}
            answer = (await stack.client.post("/api/v1/tasks/batch/delete", json=body)).json()
            assert (answer["failed_count"], len(answer["errors"])) == (400, 400)
        progress = (await stack.client.get(f"/api/v1/operations/{answer['operation_id']}")).json()
        assert (progress["failed_count"], len(progress["errors"])) == (400, 50)
        await stack.start_worker()
        await eventually(lambda: is_clear(stack), what="the oldest operations to be forgotten")


async def is_clear(stack: Stack) -> bool:
    rows = run_sql(stack, "SELECT (SELECT count(*) FROM operations), (SELECT count(*) FROM operation_skips)")
    return rows == [(5, 250)]
