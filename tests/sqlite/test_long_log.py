"""A long-running reader lets the write-ahead log grow, and all reports say so."""

import logging
import time
from pathlib import Path

import pytest

from everpost.errors import Unavailable
from everpost.store.sqlite.care import findings
from everpost.store.sqlite.file import watch
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.ledger import SqliteLedger
from everpost.task.model import Task
from everpost.testing import eventually, everpost_stack
from store_rows import make_task

LONG_BYTES = 2_000_000
TEXT = "x" * 100_000


def large_tasks(name: str, count: int) -> list[Task]:
    return [make_task(f"{name}{number}", text=TEXT) for number in range(count)]


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LARGE_LOG_BYTES", LONG_BYTES)
    monkeypatch.setattr(findings, "LARGE_LOG_BYTES", LONG_BYTES)
    monkeypatch.setattr(watch, "LOOK_S", 0.05)


async def test_readiness_metrics_log_and_doctor_tell_of_a_log_that_a_reader_lets_grow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with everpost_stack(workers=0) as stack:
        reader = sqlite3.connect(stack.settings.database_path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM task_queue").fetchone()
        with caplog.at_level(logging.WARNING, "everpost.store"):
            await stack.store.ledger.accept(large_tasks("a", 30), 0)

            async def is_told() -> bool:
                ready = (await stack.client.get("/health/ready")).json()
                return "write-ahead log grow" in str(ready["checks"])

            await eventually(is_told, what="a readiness that tells")
        assert "database.log_is_long" in caplog.text
        metrics = (await stack.client.get("/metrics")).text
        (line,) = [line for line in metrics.splitlines() if line.startswith("everpost_database_log_bytes ")]
        assert float(line.split()[1]) > LONG_BYTES
        found = findings.file_findings(stack.settings.database_path, 0)
        (finding,) = [finding for finding in found if finding.name == "write-ahead log"]
        assert finding.ok is False
        assert "end it. Open in the processes" in finding.advice
        reader.close()


async def test_a_long_read_of_our_own_is_stopped_while_the_log_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LONG_READ_S", 0.1)
    database = await Database.open(tmp_path / "everpost.db")
    endless = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    try:
        await SqliteLedger(database).accept(large_tasks("a", 30), 0)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="was stopped"):
            await database.read(lambda connection: connection.execute(endless).fetchone())
        assert time.monotonic() - began < 15
    finally:
        await database.close()
