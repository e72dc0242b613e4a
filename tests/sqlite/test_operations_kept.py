"""What bulk requests leave behind has bounds, and the numbers stay true beyond them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from everpost.clock import to_text
from everpost.store import expiry as limits
from everpost.store.sqlite.care.care import SqliteCare
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.store import SqliteStore
from everpost.task.model import new_task_id
from everpost.testing import Stack, eventually, everpost_stack
from sqlite.kit import run_sql
from sqlite.rows import insert, select
from store_contract.test_operations import check_that_work_is_told_of
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
    while forgotten := await SqliteCare(database).forget_expired(DAY_MS, START_MS, limit):
        assert forgotten <= 3 * limit


async def test_long_work_is_told_of_the_writes_of_other_processes(database: Database, tmp_path: Path) -> None:
    other = await SqliteStore.open(tmp_path / "everpost.db")
    await check_that_work_is_told_of(other, SqliteStore(database))
    await other.close()


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


async def test_a_worker_removes_old_operations_of_twenty_small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """They left 190,003 rows for ever."""
    monkeypatch.setattr(limits, "KEPT_OPERATIONS", 5)
    monkeypatch.setattr("everpost.store.operation_rows.KEPT_SKIPS", 50)
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
