"""The counts of tasks are compared with the tasks, and repaired without blocking writes."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from everpost.cli.doctor import doctor
from everpost.clock import DAY_MS, system_clock, to_text
from everpost.store.sqlite.care.care import SqliteCare
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.lists.counts import add_drift, find_drift
from everpost.testing import eventually, everpost_stack
from sqlite.rows import accept, add_ended, database_of, select
from store_rows import make_task

COUNTS = "SELECT source, status, platform, tasks FROM task_counts WHERE tasks <> 0"
TRUE_COUNTS = """
SELECT 'task_queue', status, ifnull(platform, ''), count(*) FROM task_queue GROUP BY 2, 3
UNION ALL SELECT 'publish_tasks', status, ifnull(platform, ''), count(*) FROM publish_tasks GROUP BY 2, 3
"""
SPOIL = (
    "DELETE FROM task_counts WHERE source = 'task_queue'",
    "UPDATE task_counts SET tasks = -7 WHERE source = 'publish_tasks'",
    "INSERT OR REPLACE INTO task_counts VALUES ('publish_tasks', 'success', 'nowhere', 3)",
)


async def spoil(database: Database) -> None:
    await database.write(lambda connection: [connection.execute(statement).rowcount for statement in SPOIL])


async def is_right(database: Database) -> bool:
    return sorted(await select(database, COUNTS)) == sorted(await select(database, TRUE_COUNTS))


async def test_wrong_counts_are_mended_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "everpost.db")
    try:
        counts = SqliteCare(database)
        await accept(database, *(make_task(f"a{n}") for n in range(5)))
        await add_ended(database, *(make_task(f"e{n}", platform="kuaishou") for n in range(4)))
        assert await counts.repair_counts() == 0
        await spoil(database)
        drift = await database.read(find_drift)
        await accept(database, make_task("later"))  # between the count and the repair
        assert await database.write(lambda connection: add_drift(connection, drift))
        assert await is_right(database)
        await spoil(database)
        repaired = await asyncio.gather(counts.repair_counts(), counts.repair_counts())  # two workers
        assert sorted(map(bool, repaired)) in ([False, True], [True, True])
        assert await is_right(database)
    finally:
        await database.close()


async def test_a_worker_mends_wrong_counts_and_doctor_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with everpost_stack(workers=0) as stack:
        tomorrow = to_text(system_clock() + DAY_MS)  # its end would be taken from a count that is not there
        await stack.publish(schedule_time=tomorrow)
        await spoil(database_of(stack))
        monkeypatch.setenv("EVERPOST_DATA", str(stack.settings.data))

        def ask() -> dict[str, object]:
            answer = CliRunner().invoke(doctor, ["--json"], standalone_mode=False)
            found = json.loads(answer.output[answer.output.index("{") :])["findings"]
            return next(finding for finding in found if finding["name"] == "counts")

        assert (await asyncio.to_thread(ask))["ok"] is False
        await stack.start_worker()
        await eventually(lambda: is_right(database_of(stack)), what="counts that are right")
        assert (await asyncio.to_thread(ask))["ok"] is True
