"""How SQLite finds the tasks of a list: its cursors, and when it has to look for local times."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.store.history import TaskFilter
from everpost.store.lists.cursor import Key, read_cursor, write_cursor
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.lists.filters import time_bounds
from everpost.store.sqlite.lists.finder import zone_in_question
from sqlite.rows import insert

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


def inherited(job_id: str | None, created_at: str | None, **changed: Any) -> dict[str, Any]:
    """A history row of an original file."""
    return {"job_id": job_id, "platform": "3", "status": "success", "created_at": created_at} | changed


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


@given(st.one_of(st.none(), st.text(max_size=40)), st.text(max_size=80))
def test_a_cursor_is_read_as_it_was_written(created_at: str | None, task_id: str) -> None:
    assert read_cursor(write_cursor(Key(created_at, task_id))) == Key(created_at, task_id)
