"""Rows of an original file move to PostgreSQL unchanged, or are reported one by one, whatever is in them."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli_support import environment, run, run_process
from everpost.clock import DAY_MS
from everpost.database_address import outcomes_folder
from everpost.store import open_store
from everpost.store.history import TaskFilter
from everpost.store.moving import Table
from everpost.task.model import new_task_id
from everpost.task.place import Place
from postgresql_server import shared_server
from sqlite.original_database import NOT_UTF8, Raw, finished_task, insert, make_original, queued_task
from store_kit import kit_of

JANUARY_MS = 1_736_000_000_000  # 2025
POINTS = ("move.closed", "move.begun", "move.copied", "move.compared", "move.given")


@pytest.fixture
def target() -> Iterator[str]:
    """The address of an empty PostgreSQL database."""
    address = shared_server().new_database()
    yield address
    shared_server().give_back(address)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An original file with odd rows."""
    path = make_original(tmp_path / "original.db", unique=False)
    insert(
        path,
        "publish_tasks",
        *(finished_task(number) for number in range(5)),
        finished_task(5, celery_task_id="twice", title="older"),
        finished_task(6, celery_task_id="twice", title="newer"),
        finished_task(7, celery_task_id=None, title="without an id"),
        finished_task(8, title=NOT_UTF8),
        finished_task(9, task_data="{ broken"),
        finished_task(10, title=Raw("'a' || char(0) || 'b'"), priority="high"),
        finished_task(11, created_at=1_735_700_000, package_id=2**40),
        finished_task(12, account_id="a" * 3_000),
    )
    insert(path, "task_queue", queued_task(1), queued_task(2, data=NOT_UTF8))
    return path


async def listed(address: str) -> tuple[int, int]:
    """How many tasks a list shows, and how many are unfinished."""
    store = await open_store(address)
    try:
        items = (await store.history.page(TaskFilter(), limit=100)).items
        return len(items), await store.ledger.count_unfinished()
    finally:
        await store.close()


def moving(source: Path, target: str, folder: Path) -> list[str]:
    """The command."""
    return ["move", str(source), target, "--json", "--odd-rows", str(folder / "odd.ndjson")]


def moved(source: Path, target: str, folder: Path) -> Any:
    """Run the command; its answer."""
    done = run(*moving(source, target, folder))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["tables"]


def reported(folder: Path) -> dict[str, dict[str, Any]]:
    """The report's lines by the row number in the file."""
    lines = [json.loads(line) for line in (folder / "odd.ndjson").read_text("utf-8").splitlines()]
    return {f"{line['table']} {line['row']}": line for line in lines}


def test_odd_rows_come_along_or_are_reported_one_by_one(source: Path, target: str, tmp_path: Path) -> None:
    tables = moved(source, target, tmp_path)
    assert {name: (tables[name]["rows"], tables[name]["left_out"], tables[name]["changed"]) for name in tables} == {
        **dict.fromkeys(map(str, Table), (0, 0, 0)),
        "publish_tasks": (11, 2, 3), "task_queue": (2, 0, 1), "file_records": (1, 0, 0),
    }  # fmt: skip
    odd = reported(tmp_path)
    assert {name: (line["kept"], line["why"]) for name, line in odd.items()} == {
        "publish_tasks 6": (False, ["a newer row has its id"]),
        "publish_tasks 9": (True, ["title is not UTF-8"]),
        "publish_tasks 11": (True, ["title has a NUL character", "priority is not a whole number, or too large"]),
        "publish_tasks 12": (True, ["created_at is not text"]),
        "publish_tasks 13": (False, ["its ids and names are too long for PostgreSQL's indexes"]),
        "task_queue 2": (True, ["data is not UTF-8"]),
    }
    assert odd["publish_tasks 6"]["values"]["title"] == "older"
    assert odd["publish_tasks 9"]["values"]["title"] == {"base64": "suLK1P8="}
    assert (tmp_path / "odd.ndjson").stat().st_mode & 0o077 == 0
    kit = kit_of(target)
    titles = {task.task_id: task.title for task in kit.tasks() if task.place is Place.HISTORY}
    assert (titles["twice"], titles[None]) == ("newer", "without an id")  # type: ignore[index]  # the row's id is NULL
    assert kit.columns(Place.HISTORY, "celery-9", "task_data", "created_at") == ("{ broken", "2025-01-10 08:00:00")
    assert [task.inherited for task in kit.tasks() if task.place is Place.LEDGER] == [True, True]
    assert asyncio.run(listed(target)) == (12, 0)


def test_a_move_that_is_killed_at_each_point_is_finished_by_the_same_command(
    source: Path, target: str, tmp_path: Path
) -> None:
    points = tmp_path / "points"
    points.mkdir()
    for point in POINTS:
        (points / point).write_text("kill")
        killed = run_process(*moving(source, target, tmp_path), env=environment(FAILPOINTS=str(points)))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        refused = run("archive", "--older-than-days", "9", "--database", str(source))
        assert (refused.returncode, "being moved" in refused.stderr or "was moved" in refused.stderr) == (1, True)
    assert moved(source, target, tmp_path)["publish_tasks"]["rows"] == 11
    assert kit_of(target).count() == 13
    refused = run("archive", "--older-than-days", "9", "--database", str(source))
    assert "was moved to postgresql://" in refused.stderr


def test_outcomes_that_wait_beside_the_file_are_recorded_before_it_moves(
    source: Path, target: str, tmp_path: Path
) -> None:
    waiting = outcomes_folder(source)
    waiting.mkdir()
    (waiting / "worker.json").write_text("{}")
    refused = run(*moving(source, target, tmp_path))
    assert (refused.returncode, "start a worker" in refused.stderr) == (1, True)
    assert kit_of(target).count() == 0


def test_large_rows_move_in_small_portions_and_tasks_of_a_month_into_its_partition(
    source: Path, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for store in ("sqlite", "postgresql"):
        monkeypatch.setattr(f"everpost.store.{store}.care.moving.MOST_BYTES", 1_000)
    ids = [new_task_id(JANUARY_MS + number) for number in range(3)]
    old = new_task_id(JANUARY_MS - 4 * 365 * DAY_MS)  # before there are partitions by month
    rows = (finished_task(1, celery_task_id=task_id, title="x" * 900) for task_id in (*ids, old))
    insert(source, "publish_tasks", *rows)
    assert moved(source, target, tmp_path)["publish_tasks"]["rows"] == 15
    sql = f"SELECT DISTINCT tableoid::regclass::text FROM publish_tasks WHERE job_id IN {tuple(ids)}"
    assert shared_server().server.sql(sql, target.rpartition("/")[2]) == [("publish_tasks_2025_01",)]
    back = tmp_path / "back.db"
    done = run("move", target, str(back))
    assert (done.returncode, "publish_tasks: 15 rows" in done.stdout) == (0, True), done.stderr
    assert kit_of(back).count() == kit_of(target).count() == 17
