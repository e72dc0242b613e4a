"""Archiving and purging many tasks: in small steps, behind the answer, and the space is given back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from everpost.actions.bulk import AT_ONCE, pages
from everpost.actions.bulk.behind import WorkBehind
from everpost.pace import Pace
from everpost.store.archiving import archive_older
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.store.sqlite.store import SqliteStore
from everpost.task.model import TaskStatus
from everpost.testing import Stack, eventually, everpost_stack
from sqlite.kit import run_sql
from sqlite.rows import add_ended, database_of, select
from store_rows import START_MS, make_task

ARCHIVE = "/api/v1/tasks/archive"
COUNT = "SELECT (SELECT count(*) FROM publish_tasks), (SELECT count(*) FROM publish_tasks_archive)"
NOW_MS = START_MS + 100_000


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Everything but a worker."""
    async with everpost_stack(workers=0) as stack:
        yield stack


async def add_successes(database: Database, count: int, **fields: Any) -> None:
    tasks = [make_task(f"t{number:05}", created_at_ms=START_MS + number, **fields) for number in range(count)]
    await add_ended(database, *tasks, status=TaskStatus.SUCCESS)


async def ended(stack: Stack, location: str) -> dict[str, Any]:
    async def finished() -> dict[str, Any] | None:
        state: dict[str, Any] = (await stack.client.get(location)).json()
        return state if state["status"] != "running" else None

    state = await eventually(finished, what="the operation's end")
    assert state is not None
    return state


async def test_few_are_archived_before_the_answer(stack: Stack) -> None:
    await add_successes(database_of(stack), AT_ONCE)
    answer = await stack.client.post(ARCHIVE, json={"older_than_days": 0, "dry_run": True})
    foreseen = {"archived": 0, "remaining": AT_ONCE, "dry_run": True, "status": "done", "operation_id": None}
    assert answer.json() == {"success": True, "message": f"{AT_ONCE} tasks would be archived", **foreseen}
    answer = await stack.client.post(ARCHIVE, json={"older_than_days": 0})
    assert answer.status_code == 200
    done = answer.json()
    assert (done["archived"], done["remaining"], done["status"]) == (AT_ONCE, 0, "done")
    assert run_sql(stack, COUNT) == [(0, AT_ONCE)]


async def test_many_are_archived_behind_the_answer(stack: Stack) -> None:
    count = 3 * AT_ONCE + 7
    await add_successes(database_of(stack), count)
    answer = await stack.client.post(ARCHIVE, json={"older_than_days": 0})
    assert answer.status_code == 202
    begun = answer.json()
    assert (begun["success"], begun["status"], begun["remaining"]) == (True, "running", count)
    assert begun["message"] == f"{count} tasks are being archived; 0 done"
    state = await ended(stack, answer.headers["location"])
    assert (state["kind"], state["total"], state["success_count"], state["errors"]) == ("archive", count, count, [])
    assert run_sql(stack, COUNT) == [(0, count)]
    assert run_sql(stack, "SELECT DISTINCT archive_reason FROM publish_tasks_archive") == [("age",)]


async def test_posts_are_accepted_while_many_tasks_are_archived(stack: Stack) -> None:
    await add_successes(database_of(stack), 2_000)
    begun = (await stack.client.post(ARCHIVE, json={"older_than_days": 0})).json()
    posted = 0
    state: dict[str, Any] = {"status": "running"}
    while state["status"] == "running":
        for _ in range(5):
            await stack.publish()
        posted += 5
        state = (await stack.client.get(f"/api/v1/operations/{begun['operation_id']}")).json()
    assert state["success_count"] == 2_000
    assert run_sql(stack, "SELECT count(*) FROM task_queue") == [(posted,)]
    assert posted > 5  # it went in steps, with posts between


async def test_large_tasks_are_archived_a_few_at_a_time(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "CHUNK_BYTES", 50_000)
    await add_successes(database_of(stack), 30, description="x" * 20_000)
    answer = await stack.client.post(ARCHIVE, json={"older_than_days": 0})
    assert answer.status_code == 202
    assert (await ended(stack, answer.headers["location"]))["success_count"] == 30
    assert run_sql(stack, COUNT) == [(0, 30)]


async def test_archiving_goes_on_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with everpost_stack(workers=0, folder=tmp_path) as stack:
        await add_successes(database_of(stack), AT_ONCE + 100)
        monkeypatch.setattr(WorkBehind, "run", lambda *_: None)
        answer = await stack.client.post(ARCHIVE, json={"older_than_days": 0})
        assert answer.status_code == 202
    monkeypatch.undo()
    async with everpost_stack(workers=0, folder=tmp_path) as stack:
        assert (await ended(stack, answer.headers["location"]))["success_count"] == AT_ONCE + 100
        assert run_sql(stack, COUNT) == [(0, AT_ONCE + 100)]


async def test_the_commands_go_in_steps(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "everpost.db")
    await add_successes(database, 100)
    store = SqliteStore(database)
    steps = [done async for done in archive_older(store, NOW_MS, Pace(30), lambda: NOW_MS)]
    assert sum(steps) == 100
    assert max(steps) <= 30
    assert await select(database, COUNT) == [(0, 100)]
    steps = [done async for done in store.archive.purge(NOW_MS + 1, Pace(30))]
    assert sum(steps) == 100
    assert max(steps) <= 30
    assert await select(database, COUNT) == [(0, 0)]
    await database.close()


@pytest.mark.parametrize("name", ["page_older", "count_older"])
async def test_old_tasks_are_found_without_sorting_all(tmp_path: Path, name: str) -> None:
    """SQLite sorted 900,000 successes in each step, which took 1.7 s and blocked writes."""
    database = await Database.open(tmp_path / "everpost.db")
    given = {"before": "2030", "day_before": "2029", "ended_at": "2020", "row": 5, "limit": 10}

    def explain(connection: sqlite3.Connection) -> list[str]:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {load(name)}", given)]

    bounds = "<expr>>? AND <expr><?" if name == "page_older" else "<expr><?"
    assert await database.read(explain) == [f"SEARCH publish_tasks USING INDEX publish_tasks_ended ({bounds})"]
    await database.close()
