"""Kill -9 amid archiving by age: every task is in exactly one place, counts and search are right, and it goes on."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from chaos_kit.processes import PythonProcess
from everpost.failpoints import Action
from everpost.store import open_store
from everpost.store.history import TaskFilter
from everpost.testing import eventually
from postgresql.kit import PostgresqlKit
from postgresql_server import PostgresqlServer
from store_rows import ids

pytestmark = pytest.mark.chaos

MAY_MS, JUNE_MS = (round(datetime(2025, month, 2, tzinfo=UTC).timestamp() * 1000) for month in (5, 6))
OF_MAY = 20_000  # successes, which are archived as a whole
OF_JUNE = 30  # which are archived one by one
STAYING = 10
NEEDLE = "针线"

FILL = """
WITH tasks AS (
    SELECT number, lpad(to_hex({from_ms} + number), 12, '0') || '7' || lpad(to_hex(number), 19, '0') AS task_id,
        to_char(to_timestamp(({from_ms} + number) / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at,
        CASE WHEN number % (({successes} + {failures}) / {failures}) = 0 THEN 'failed' ELSE 'success' END AS status
    FROM generate_series(1, {successes} + {failures}) AS number
)
INSERT INTO publish_tasks (job_id, platform, title, status, created_at, updated_at, completed_at, task_data)
SELECT task_id, 'bilibili', CASE WHEN status = 'failed' OR number < 9 THEN '{needle}' ELSE 'x' END, status,
    at, at, at, '{{}}'
FROM tasks
"""

PAUSES = """
CREATE TABLE paused_at (step integer);
INSERT INTO paused_at VALUES (0);
CREATE FUNCTION pause_at_step() RETURNS event_trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
DECLARE
    here integer := coalesce(nullif(current_setting('test.step', true), ''), '0')::integer + 1;
BEGIN
    PERFORM set_config('test.step', here::text, true);
    PERFORM pg_advisory_xact_lock(77) FROM paused_at WHERE step = here;
END $$;
CREATE EVENT TRIGGER pauses ON ddl_command_start EXECUTE FUNCTION pause_at_step();
"""
"""A transaction stops before the given one of its statements that change tables, while another has the lock 77."""


class Archiving:
    """A history with old tasks, and `everpost archive`."""

    def __init__(self, server: PostgresqlServer, folder: Path) -> None:
        self.server = server
        settings = {"EVERPOST_DATABASE": server.address(), "EVERPOST_DATA": str(folder)}
        command = ["everpost.cli", "archive", "--older-than-days", "30"]
        # Its log is waited for by no test.
        self.process = PythonProcess("archive", command, folder=folder, settings=settings, ready="")

    @property
    def kit(self) -> PostgresqlKit:
        return PostgresqlKit(self.server.address())

    @property
    def has_ended(self) -> bool:
        return not self.process.is_running

    async def fill(self) -> None:
        store = await open_store(self.server.address())
        for from_ms, successes in ((MAY_MS, OF_MAY), (JUNE_MS, OF_JUNE)):
            await store.care.tend(from_ms)
            self.kit.execute(FILL.format(from_ms=from_ms, successes=successes, failures=STAYING, needle=NEEDLE))
        while await store.care.fill_search():
            pass
        await store.close()
        self.kit.execute("VACUUM ANALYZE publish_tasks")
        self.kit.execute(PAUSES)

    async def count_archived(self) -> int:
        """How many tasks are archived. Checks that the rest is in the history, and that counts and search agree."""
        kit = self.kit
        history, archived = self._ids("publish_tasks"), self._ids("publish_tasks_archive")
        assert not history & archived
        assert len(history) + len(archived) == OF_MAY + OF_JUNE + 2 * STAYING
        assert kit.select("SELECT status, count(*) FROM publish_tasks_archive GROUP BY 1") == (
            [("success", len(archived))] if archived else []
        )
        assert kit.select("SELECT to_regclass('staying'), to_regclass('staying_words')") == [(None, None)]
        assert not kit.find_faults()
        store = await open_store(self.server.address())
        by_status = {"failed": 2 * STAYING, "success": len(history) - 2 * STAYING}
        assert (await store.history.summary()).by_status == {key: tasks for key, tasks in by_status.items() if tasks}
        assert await store.care.repair_counts() == 0
        found = ids((await store.history.page(TaskFilter(q=NEEDLE))).items)
        wanted = kit.select("SELECT job_id FROM publish_tasks WHERE title = %s ORDER BY job_id DESC", NEEDLE)
        assert found == [task_id for (task_id,) in wanted]
        await store.close()
        return len(archived)

    def _ids(self, table: str) -> set[str]:
        found = [task_id for (task_id,) in self.kit.select(f"SELECT job_id FROM {table}")]
        assert len(found) == len(set(found))
        return set(found)

    @contextmanager
    def pausing(self, step: int) -> Iterator[None]:
        """Have transactions stop before a step for a while."""
        with psycopg.connect(self.server.address(), autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(77)")
            connection.execute("UPDATE paused_at SET step = %s", [step])
            yield

    async def paused_or_ended(self) -> bool:
        """Wait until the command stops before the step, or has ended; whether it stops."""

        async def is_decided() -> bool:
            return self.has_ended or self.kit.count_waiting() == 1

        await eventually(is_decided)
        return not self.has_ended

    async def left(self) -> None:
        """Wait until the server has ended the sessions of processes that were killed."""
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

        async def is_alone() -> bool:
            return self.kit.select(others) == [(0,)]

        await eventually(is_alone)

    async def crash_server(self) -> None:
        """Kill every process of the server, and start it again."""
        await asyncio.to_thread(self.server.signal_all, signal.SIGKILL)
        await asyncio.to_thread(self.server.start)


@pytest_asyncio.fixture
async def archiving(tmp_path: Path) -> AsyncIterator[Archiving]:
    """A server of its own, with old tasks."""
    server = await asyncio.to_thread(PostgresqlServer.new)
    archiving = Archiving(server, tmp_path)
    try:
        await archiving.fill()
        yield archiving
    finally:
        archiving.process.kill()
        server.remove()


async def crash_at_each_step(archiving: Archiving, *, is_server_killed: bool) -> int:
    """Kill the command before each statement of the function that changes tables; how many there were."""
    for step in count(1):
        with archiving.pausing(step):
            await archiving.process.start()
            if not await archiving.paused_or_ended():
                return step - 1
            archiving.process.kill()
            if is_server_killed:
                await archiving.crash_server()
        await archiving.left()
        assert await archiving.count_archived() == 0, step
    raise AssertionError


@pytest.mark.parametrize("is_server_killed", [True, False], ids=["with the server", "alone"])
async def test_a_kill_at_each_step_of_archiving_a_month_leaves_the_month_as_it_was(
    archiving: Archiving, *, is_server_killed: bool
) -> None:
    assert await crash_at_each_step(archiving, is_server_killed=is_server_killed) > 20
    assert await archiving.count_archived() == OF_MAY + OF_JUNE


@pytest.mark.parametrize("point", ["commit.before", "commit.after"])
async def test_a_kill_around_each_commit_of_archiving_leaves_each_task_in_one_place(
    archiving: Archiving, point: str
) -> None:
    """There is one for the month, one for each look for another month, and one for the tasks that go one by one."""
    archived, passed, seen = 0, 0, set[int]()
    while await killed_after(archiving, point, passed):
        await archiving.left()
        before, archived = archived, await archiving.count_archived()
        seen.add(archived)
        passed = passed + 1 if archived == before else 0
    assert seen >= ({0, OF_MAY} if point == "commit.before" else {OF_MAY, OF_MAY + OF_JUNE})
    assert await archiving.count_archived() == OF_MAY + OF_JUNE


async def killed_after(archiving: Archiving, point: str, passed: int) -> bool:
    """Start the command, let it pass a point so many times, and kill it there; False if it ended before."""
    process = archiving.process
    process.arm(point, Action.PAUSE)
    await process.start()
    for number in range(passed + 1):

        async def is_decided() -> bool:
            return archiving.has_ended or process.is_at(point)

        await eventually(is_decided)
        if archiving.has_ended:
            return False
        if number < passed:
            process.arm(point, Action.PAUSE)  # and so it goes on
    process.kill()
    return True


async def test_archiving_goes_on_by_itself_when_the_server_has_crashed(archiving: Archiving) -> None:
    with archiving.pausing(7):
        await archiving.process.start()
        assert await archiving.paused_or_ended()
        await archiving.crash_server()

    async def has_ended() -> bool:
        return archiving.has_ended

    await eventually(has_ended)
    assert await archiving.process.stop() == 0
    assert await archiving.count_archived() == OF_MAY + OF_JUNE
