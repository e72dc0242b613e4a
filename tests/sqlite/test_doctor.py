"""`everpost doctor` on SQLite's file: each thing it calls well is broken once, and it says so."""

import os
from pathlib import Path
from typing import Any

import pytest

from doctor_support import by_name, checks, redis_findings
from everpost.cli.checkup import task_findings
from everpost.clock import system_clock
from everpost.settings import temporary_settings
from everpost.store import maintenance_of
from everpost.store.maintenance import Depth
from everpost.store.sqlite.care.findings import file_findings
from everpost.store.sqlite.care.inspection import wrong_pragmas
from everpost.store.sqlite.file.database import Database
from everpost.testing import Stack, eventually, everpost_stack


def consuming(stack: Stack) -> Any:
    async def is_consuming() -> bool:
        return bool((await checks(stack))["worker"]["ok"])

    return eventually(is_consuming, what="a consuming worker")


async def test_a_worker_that_lost_its_file_says_so_and_the_api_is_not_ready(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path) as stack:
        await consuming(stack)
        stack.settings.database_path.rename(tmp_path / "moved.db")

        async def is_told() -> bool:
            found = await redis_findings(stack)
            return "trouble" in found and "was moved" in found["trouble"].value

        await eventually(is_told, what="the worker's trouble")
        database = (await checks(stack))["database"]
        assert (database["ok"], "was moved" in database["detail"]) == (False, True)
        (tmp_path / "moved.db").rename(stack.settings.database_path)


def test_a_file_and_a_folder_that_cannot_be_written_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = temporary_settings(tmp_path)
    settings.database_path.touch()
    assert by_name([*file_findings(settings.database_path, 0)])["may be written"].ok
    forbidden = {settings.database_path}
    monkeypatch.setattr(os, "access", lambda place, _: place not in forbidden)  # root may write everywhere
    assert by_name([*file_findings(settings.database_path, 0)])["may be written"].ok is False
    forbidden = {tmp_path}
    assert by_name([*file_findings(settings.database_path, 0)])["may be written"].ok is False
    settings.database_path.unlink()
    assert by_name([*file_findings(settings.database_path, 0)])["may be written"].ok is False


async def test_a_log_that_grew_is_found(tmp_path: Path) -> None:
    settings = temporary_settings(tmp_path)
    await (await Database.open(settings.database_path)).close()
    assert by_name([*file_findings(settings.database_path, 0)])["write-ahead log"].ok
    with (tmp_path / "everpost.db-wal").open("wb") as log:
        log.truncate(300 << 20)
    assert by_name([*file_findings(settings.database_path, 0)])["write-ahead log"].ok is False


async def test_a_pragma_that_is_not_as_set_is_found(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "everpost.db", readers=1)
    try:
        assert await wrong_pragmas(database) == {}
        await database.write(lambda connection: connection.execute("PRAGMA busy_timeout = 7").fetchall())
        assert await wrong_pragmas(database) == {"busy_timeout": "7"}
        await database.read(lambda connection: connection.execute("PRAGMA synchronous = NORMAL").fetchall())
        assert await wrong_pragmas(database) == {"busy_timeout": "7", "synchronous": "1"}
    finally:
        await database.close()


@pytest.mark.parametrize("depth", [Depth.FAST, Depth.QUICK])
async def test_a_pause_is_told(tmp_path: Path, depth: Depth) -> None:
    path, backup = tmp_path / "everpost.db", tmp_path / "backup.db"
    await (await Database.open(path)).close()
    database = maintenance_of(str(path))
    database.back_up(backup)
    database.restore(backup, system_clock())
    inspection = await database.inspect(depth, system_clock(), 0)
    assert inspection.contents is not None
    found = by_name([*task_findings(inspection.contents, system_clock())])
    assert found["dispatch"].ok is False
    assert str(backup) in found["dispatch"].value
    assert "everpost resume" in found["dispatch"].advice
