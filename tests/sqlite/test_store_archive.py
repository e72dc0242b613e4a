"""The archive takes ended tasks, loses none, and only a purge destroys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from everpost.clock import DAY_MS, to_text
from everpost.pace import Pace
from everpost.store.sqlite.care import archive as module
from everpost.store.sqlite.care.archive import SqliteArchive
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.lists.history import SqliteHistory
from everpost.store.sqlite.tasks.changes import SqliteChanges
from everpost.task.model import TaskStatus
from everpost.task.place import Place
from everpost.task.removal_rules import Removal
from sqlite.rows import accept, add_ended, insert, remove, select
from store_rows import START_MS, make_task

COLUMNS = "job_id, platform, account_id, title, status, created_at, completed_at, task_data, priority, batch_id, result"


class StepsOf(Pace):
    """Steps of one size, without a rest."""

    @asynccontextmanager
    async def step(self) -> AsyncIterator[int]:
        yield self.size


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


@pytest.fixture
def archive(database: Database) -> SqliteArchive:
    return SqliteArchive(database, lambda: START_MS + DAY_MS)


async def places(database: Database) -> dict[str, list[str]]:
    """The ids in each table."""
    columns = {"task_queue": "task_id", "publish_tasks": "job_id", "publish_tasks_archive": "job_id"}
    return {
        table: sorted(row[0] for row in await select(database, f"SELECT {column} FROM {table}") if row[0])
        for table, column in columns.items()
    }


async def test_old_successes_are_archived_whole_and_nothing_else(database: Database, archive: SqliteArchive) -> None:
    old = [make_task(f"old{number}", priority=number, batch_id="B") for number in range(5)]
    await add_ended(database, *old, status=TaskStatus.SUCCESS, result=b'{"ok": true}')
    await add_ended(database, make_task("new"), status=TaskStatus.SUCCESS, finished_at_ms=START_MS + 9_000)
    await add_ended(database, make_task("failed"))
    await accept(database, make_task("waiting"))
    before_ms = START_MS + 5_000
    rows = await select(database, f"SELECT {COLUMNS} FROM publish_tasks WHERE job_id LIKE 'old%' ORDER BY job_id")
    assert await archive.count_older(before_ms) == 5
    assert [done async for done in archive.archive_older(before_ms, StepsOf(2))] == [2, 2, 1]
    assert await select(database, f"SELECT {COLUMNS} FROM publish_tasks_archive ORDER BY job_id") == rows
    assert await places(database) == {
        "task_queue": ["waiting"],
        "publish_tasks": ["failed", "new"],
        "publish_tasks_archive": [f"old{number}" for number in range(5)],
    }
    task = await SqliteHistory(database).find_task("old3")
    assert task is not None
    assert (task.place, task.archive_reason, task.archived_at) == (Place.ARCHIVE, "age", to_text(START_MS + DAY_MS))
    (candidate,) = await SqliteChanges(database).find(["old3"], whole=True)
    assert candidate.data is not None


async def test_old_tasks_with_much_data_are_moved_few_at_a_time(
    database: Database, archive: SqliteArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 25_000)
    tasks = [make_task(f"t{number}", note="x" * 10_000) for number in range(5)]
    await add_ended(database, *tasks, status=TaskStatus.SUCCESS)
    await database.write(
        lambda connection: connection.execute("UPDATE publish_tasks SET task_data = NULL WHERE job_id = 't0'")
    )
    before_ms = START_MS + 30 * DAY_MS
    assert [done async for done in archive.archive_older(before_ms, StepsOf(9))] == [3, 2]


async def test_the_age_of_an_inherited_success_is_known_without_completed_at(
    database: Database, archive: SqliteArchive
) -> None:
    def row(job_id: str | None, at_ms: int, **changed: Any) -> dict[str, Any]:
        text = to_text(at_ms)[:19].replace("T", " ")
        return {"job_id": job_id, "status": "success", "created_at": text, "updated_at": text} | changed

    await insert(
        database,
        "publish_tasks",
        row("old", START_MS - 3 * DAY_MS),
        row("less than a day too old", START_MS - DAY_MS // 2),
        row("failed", START_MS - 3 * DAY_MS, status="failed"),
        row(None, START_MS - 3 * DAY_MS),
        row("no updated_at", START_MS - 3 * DAY_MS, updated_at=None),
    )
    assert await archive.count_older(START_MS) == 2
    assert [done async for done in archive.archive_older(START_MS, StepsOf(9))] == [2]
    assert (await places(database))["publish_tasks_archive"] == ["no updated_at", "old"]


async def test_deleting_archives_ended_tasks_and_refuses_unfinished_ones(database: Database) -> None:
    await add_ended(database, make_task("failed"), make_task("twice"))
    await accept(database, make_task("waiting"))
    asked = ["failed", "twice", "twice", "waiting", "nobody"]
    assert await remove(database, *asked) == {
        "failed": None,
        "twice": None,
        "waiting": Removal.UNFINISHED,
        "nobody": Removal.NOT_FOUND,
    }
    assert await remove(database, "failed") == {"failed": Removal.ARCHIVED_BEFORE}
    assert await remove(database) == {}
    assert await places(database) == {
        "task_queue": ["waiting"],
        "publish_tasks": [],
        "publish_tasks_archive": ["failed", "twice"],
    }


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


async def test_only_a_purge_destroys_and_only_tasks_archived_before(database: Database, archive: SqliteArchive) -> None:
    await add_ended(database, *(make_task(f"{number}") for number in range(5)))
    await remove(database, "0", "1", "2", now_ms=START_MS + DAY_MS)
    await remove(database, "3", now_ms=START_MS + 9 * DAY_MS)
    assert await archive.count_archived(START_MS + 99 * DAY_MS) == 4
    assert [done async for done in archive.purge(START_MS, StepsOf(2))] == []
    assert [done async for done in archive.purge(START_MS + 2 * DAY_MS, StepsOf(2))] == [2, 1]
    assert [done async for done in archive.purge(START_MS + 99 * DAY_MS, StepsOf(2))] == [1]
    assert await places(database) == {"task_queue": [], "publish_tasks": ["4"], "publish_tasks_archive": []}


async def test_a_retry_in_the_archive_still_belongs_to_the_task_it_retried(database: Database) -> None:
    await add_ended(database, make_task("root"))
    await add_ended(database, make_task("again", retry_of="root", root_id="root", generation=1))
    await remove(database, "again")
    for _ in range(2):
        root = await SqliteHistory(database).find_task("root")
        assert root is not None
        assert [(retry.task_id, retry.place) for retry in root.retries] == [("again", Place.ARCHIVE)]
        await remove(database, "root")


async def test_a_purge_leaves_tasks_that_ended_later_although_a_wrong_clock_archived_them_before(
    database: Database,
) -> None:
    await add_ended(database, make_task("a"), status=TaskStatus.SUCCESS, finished_at_ms=START_MS)
    set_back = SqliteArchive(database, lambda: START_MS - 400 * DAY_MS)
    assert [done async for done in set_back.archive_older(START_MS + 1, StepsOf(9))] == [1]
    assert await set_back.count_archived(START_MS - DAY_MS) == 0
    assert [done async for done in set_back.purge(START_MS - DAY_MS, StepsOf(9))] == []
    assert [done async for done in set_back.purge(START_MS + 1, StepsOf(9))] == [1]
