"""The archive takes ended tasks, loses none, and only a purge destroys."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from everpost.clock import DAY_MS
from everpost.store.sqlite.care import archive as module
from everpost.store.sqlite.care.archive import SqliteArchive
from everpost.store.sqlite.file.database import Database
from everpost.task.model import TaskStatus
from sqlite.rows import add_ended, insert, remove, select
from store_rows import START_MS, make_task

COLUMNS = "job_id, platform, account_id, title, status, created_at, completed_at, task_data, priority, batch_id, result"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


async def places(database: Database) -> dict[str, list[str]]:
    """The ids in each table."""
    columns = {"task_queue": "task_id", "publish_tasks": "job_id", "publish_tasks_archive": "job_id"}
    return {
        table: sorted(row[0] for row in await select(database, f"SELECT {column} FROM {table}") if row[0])
        for table, column in columns.items()
    }


async def test_a_page_of_old_tasks_with_much_data_has_few_of_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 25_000)
    tasks = [make_task(f"t{number}", note="x" * 10_000) for number in range(5)]
    await add_ended(database, *tasks, status=TaskStatus.SUCCESS)
    await database.write(
        lambda connection: connection.execute("UPDATE publish_tasks SET task_data = NULL WHERE job_id = 't0'")
    )
    before_ms = START_MS + 30 * DAY_MS
    first, cursor = await SqliteArchive(database).page_older(before_ms, None, 9)
    rest, following = await SqliteArchive(database).page_older(before_ms, cursor, 9)
    assert ([len(first), len(rest)], following) == ([3, 2], None)


async def test_an_inherited_queue_row_is_archived_with_all_it_holds(database: Database) -> None:
    row = {"task_type": "publish", "status": "failed", "priority": 2, "created_at": "2025-01-01 08:00:00"}
    data = '{"platform": 3, "account_id": "a", "file_id": 7, "title": "测试"}'
    await insert(
        database,
        "task_queue",
        row | {"task_id": "old", "data": data, "error_message": "no"},
        row | {"task_id": "both", "data": "{damaged"},
    )
    await insert(database, "publish_tasks", {"job_id": "both", "status": "failed", "created_at": "2025-01-01 08:00:00"})
    assert await remove(database, "old", "both") == {"old": None, "both": None}
    assert await places(database) == {
        "task_queue": [],
        "publish_tasks": [],
        "publish_tasks_archive": ["both", "both", "old"],
    }
    kept = await select(
        database,
        "SELECT platform, account_id, material_id, title, status, priority, error_message, created_at, task_data "
        "FROM publish_tasks_archive WHERE job_id = 'old'",
    )
    assert kept == [("3", "a", "7", "测试", "failed", 2, "no", "2025-01-01 08:00:00", data)]
    assert await select(database, "SELECT sum(tasks) FROM task_counts") == [(0,)]
    await add_ended(database, make_task("next"))
    assert await remove(database, "next") == {"next": None}
