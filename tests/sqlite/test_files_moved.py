"""A file that was moved away or replaced takes no more tasks."""

import pytest

from api_support import TASK
from everpost.errors import DatabaseUnusable
from everpost.store.sqlite.file.database import Database
from everpost.testing import everpost_stack
from sqlite.rows import database_of


async def test_nothing_is_accepted_into_a_file_that_was_moved_away() -> None:
    async with everpost_stack(workers=0) as stack:
        path = stack.settings.database_path
        await stack.publish()
        moved = path.rename(path.with_suffix(".moved"))
        answer = await stack.client.post("/api/v1/publish", json=TASK)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unusable")
        moved.rename(path)
        await stack.publish()


async def test_nothing_is_written_to_a_file_that_was_replaced() -> None:
    async with everpost_stack(workers=0) as stack:
        path = stack.settings.database_path
        path.rename(path.with_suffix(".moved"))
        other = await Database.open(path)
        with pytest.raises(DatabaseUnusable):
            await database_of(stack).write(lambda connection: connection.execute("DELETE FROM task_queue"))
        await other.close()
