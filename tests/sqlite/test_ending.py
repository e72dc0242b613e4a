"""Tasks that end together: one statement moves them all, and one that is odd holds up no other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from everpost.errors import KeyReused
from everpost.store.ledger import FirstAnswer, IdempotencyKey, Once, RecordRefusedError
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.tasks.ledger import SqliteLedger
from everpost.task.model import TaskColumns, TaskRecord, TaskStatus
from sqlite.rows import accept, insert, select
from store_rows import START_MS, make_task


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "everpost.db")
    yield opened
    await opened.close()


def record(task_id: str, status: TaskStatus = TaskStatus.SUCCESS) -> TaskRecord:
    return TaskRecord(task_id=task_id, status=status, columns=TaskColumns(platform="x"), finished_at_ms=START_MS + 1)


async def ended(database: Database) -> list[tuple[str, str]]:
    return await select(database, "SELECT job_id, status FROM publish_tasks ORDER BY job_id")


async def test_accepting_and_ending_are_a_statement_each_and_no_more(database: Database) -> None:
    statements: list[str] = []
    writer = database._writer
    assert writer is not None
    await writer.set_trace_callback(statements.append)
    await accept(database, make_task("a"), make_task("b"))
    assert await SqliteLedger(database).end([record("a"), record("b")]) == []
    assert statements
    assert {"BEGIN IMMEDIATE", "COMMIT"}.isdisjoint(statements)
    assert await ended(database) == [("a", "success"), ("b", "success")]
    assert await select(database, "SELECT task_id FROM task_queue") == []
    assert await select(database, "SELECT sum(tasks) FROM task_counts WHERE source = 'task_queue'") == [(0,)]


async def test_a_record_that_cannot_be_kept_keeps_no_other_from_being_kept(database: Database) -> None:
    await accept(database, *(make_task(task_id) for task_id in "abcd"))
    await insert(database, "publish_tasks", {"job_id": "b", "status": "failed"})  # it is in two tables
    ledger = SqliteLedger(database)
    records = [record("a"), record("b"), record("stranger"), record("c")]
    overtaken = [record("d")]
    for _ in range(2):  # the worker tries for ever
        with pytest.raises(RecordRefusedError, match="UNIQUE"):
            await ledger.end(records, overtaken)
        assert await ended(database) == [("a", "success"), ("b", "failed"), ("c", "success"), ("stranger", "success")]
        assert await select(database, "SELECT task_id FROM task_queue") == [("b",), ("d",)]


async def test_a_reused_key_repeats_no_write_of_its_commit(database: Database) -> None:
    ledger = SqliteLedger(database)
    attempts: list[str] = []

    async def accept_once(task_id: str, body: str) -> FirstAnswer | None:
        key = IdempotencyKey("k", body, kept_ms=0)
        return await ledger.accept([make_task(task_id)], START_MS, Once(key, FirstAnswer(task_id, "{}")))

    await accept_once("first", "a body")
    answers = await asyncio.gather(
        ledger.accept([make_task("second")], START_MS),  # alone in its transaction; the others share the next one
        database.write(lambda _: attempts.append("run")),
        accept_once("third", "another body"),
        return_exceptions=True,
    )
    assert answers[0] is None
    assert isinstance(answers[2], KeyReused)
    assert attempts == ["run"]
