"""Ledger rows that another program wrote into: they hold up no other task, and a person finds and decides them."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everpost.clock import system_clock
from everpost.store.odd_rows import NO_DATA
from everpost.store.relay import MayBeSent, OddTask, StuckError
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.tasks.ledger import SqliteLedger
from everpost.store.sqlite.tasks.relay import SqliteRelay
from everpost.task.model import Attempt, TaskRecord, TaskStatus
from everpost.testing import Stack, eventually, everpost_stack
from everpost_workers.upkeep.relay import Relay
from sqlite.kit import run_sql
from sqlite.rows import accept, insert
from store_rows import make_task

COLUMNS = (
    "task_id", "task_type", "priority", "status", "data", "result", "error_message", "retry_count", "max_retries",
    "created_at", "updated_at", "started_at", "platform", "account_id", "title", "due_at", "retry_of", "root_id",
    "generation", "batch_id", "attempts", "sending",
)  # fmt: skip
VALUES: dict[str, Any] = {
    "null": None,
    "blob": b"\x00\xff",
    "text": "odd",
    "list": '["x", 1, {}]',
    "not UTF-8": "CAST(x'ff41' AS TEXT)",
    "huge": 10**18,
    "negative": -5,
    "real": 1.5,
    "long": "x" * 200_000,
}
PLACES = """
SELECT count(*) FROM (
    SELECT id FROM task_queue UNION ALL SELECT task_id FROM publish_tasks
    UNION ALL SELECT task_id FROM publish_tasks_archive
)"""
NOW_MS = 1_790_000_000_000


def assignment(column: str, value: Any) -> tuple[str, list[Any]]:
    """SQL that sets the column, and its parameters."""
    is_sql = isinstance(value, str) and value.startswith("CAST(")
    return (f"{column} = {value}", []) if is_sql else (f"{column} = ?", [value])


async def spoil(stack: Stack, task_id: str, column: str, value: Any) -> bool:
    """Whether the table takes the value."""
    change, parameters = assignment(column, value)
    try:
        run_sql(stack, f"UPDATE task_queue SET {change} WHERE task_id = ?", *parameters, task_id)
    except sqlite3.IntegrityError:
        return False
    return True


async def test_odd_values_in_any_column_of_the_ledger_hold_up_no_other_task() -> None:
    async with everpost_stack(workers=0) as stack:
        good, odd = [], 0
        for column in COLUMNS:
            for value in VALUES.values():
                odd += await spoil(stack, await stack.publish(), column, value)
                good.append(await stack.publish())
        total = run_sql(stack, PLACES)
        await stack.flush_redis()
        await stack.start_worker()
        await stack.drain(timeout_s=60)
        for task_id in good:
            assert (await stack.task(task_id))["status"] == "success"
        assert run_sql(stack, PLACES) == total
        assert odd > 150
        assert (await stack.client.get("/api/v1/tasks", params={"limit": 1000})).status_code == 200


async def test_a_row_without_data_ends_where_a_person_finds_it_and_can_retry_it() -> None:
    async with everpost_stack(workers=0) as stack:
        task_id, other_id = await stack.publish(title="测试"), await stack.publish()
        await spoil(stack, task_id, "data", None)
        await stack.flush_redis()
        await stack.start_worker()
        task = await stack.wait_until_ended(task_id)
        assert (task["status"], task["error_class"]) == ("failed", "unreadable")
        assert NO_DATA in task["error_message"]
        assert (await stack.wait_until_ended(other_id))["status"] == "success"
        assert stack.publisher.times_published(task_id) == 0
        found = await stack.client.get("/api/v1/tasks", params={"error_class": "unreadable"})
        assert [item["task_id"] for item in found.json()["data"]] == [task_id]
        answer = (await stack.client.post(f"/api/v1/tasks/retry/{task_id}")).json()
        assert answer["warning"]
        assert (await stack.wait_until_ended(answer["new_task_id"]))["status"] == "success"


async def test_a_row_without_data_that_was_being_sent_ends_as_unknown_for_a_person_to_decide() -> None:
    async with everpost_stack(workers=0) as stack:
        task_id = await stack.publish()
        run_sql(stack, "UPDATE task_queue SET data = NULL, sending = 1")
        await stack.flush_redis()
        await stack.start_worker()
        task = await stack.wait_until_ended(task_id)
        assert task["status"] == "unknown"
        assert task["attempts"][-1]["evidence"]["phase"] == "sending"
        decision = {"decision": "succeeded", "by": "me", "why": "seen"}
        assert (await stack.client.post(f"/api/v1/tasks/{task_id}/resolve", json=decision)).status_code == 200


async def test_a_relay_that_fails_is_told_by_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Relay) -> int:
        raise TypeError("a defect")

    async with everpost_stack(workers=0) as stack:
        monkeypatch.setattr(Relay, "tick", fail)
        await stack.start_worker()

        async def is_told() -> bool:
            answer = await stack.client.get("/health/ready")
            worker = next(check for check in answer.json()["checks"] if check["name"] == "worker")
            return answer.status_code == 503 and "TypeError: a defect" in worker["detail"]

        await eventually(is_told, what="a readiness that tells")


async def test_a_row_whose_id_the_history_has_already_stays_and_is_told_once(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "everpost.db")
    try:
        await accept(database, make_task("a"))
        await insert(database, "publish_tasks", {"job_id": "a", "status": "success"})
        with pytest.raises(StuckError):
            await SqliteRelay(database).set_aside(OddTask("1", NO_DATA), never_sent, NOW_MS)
    finally:
        await database.close()


def never_sent(_: object) -> bool:
    return False


VALUE = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(['["x"]', "[]", "{}", '[{"number": 1}]', "CAST(x'c328' AS TEXT)"]),
)


@settings(max_examples=20)
@given(st.dictionaries(st.sampled_from(COLUMNS), VALUE, min_size=1, max_size=4), st.sampled_from([never_sent, bool]))
def test_whatever_stands_in_a_row_it_can_be_read_or_set_aside_and_stays_one_task(
    changes: dict[str, Any], may_be_sent: MayBeSent
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="everpost-test-"))
    try:
        asyncio.run(see_to_a_spoilt_row(folder, changes, may_be_sent))
    finally:
        shutil.rmtree(folder)


async def see_to_a_spoilt_row(folder: Path, changes: dict[str, Any], may_be_sent: MayBeSent) -> None:
    database = await Database.open(folder / "everpost.db", readers=1)
    try:
        ledger, relay = SqliteLedger(database), SqliteRelay(database)
        await accept(database, make_task("a"), make_task("b"))
        parts = [assignment(column, value) for column, value in changes.items()]
        sql = f"UPDATE task_queue SET {', '.join(part for part, _ in parts)} WHERE task_id = 'a'"
        values = [value for _, some in parts for value in some]
        try:
            await database.write(lambda connection: connection.execute(sql, values).rowcount)
        except sqlite3.IntegrityError:
            return
        page = await relay.page(None, system_clock(), 10)
        assert len(page.entries) + len(page.odd) == 2
        names = [entry.task_id for entry in page.entries]
        runnable = await relay.runnable(names)
        assert "b" in {task.task_id for task in runnable.tasks}
        for odd in [*runnable.odd, *page.odd]:
            moved = await relay.set_aside(odd, may_be_sent, NOW_MS)
            assert moved is not None
            assert moved.status in {TaskStatus.FAILED, TaskStatus.UNKNOWN}
        known = (await ledger.check_claims(dict.fromkeys(names))).known
        attempt = Attempt(number=2, started_at="s", outcome=TaskStatus.SUCCESS)
        records = [
            TaskRecord(task_id=task_id, status=TaskStatus.SUCCESS, finished_at_ms=NOW_MS, attempt=attempt)
            for task_id in known
        ]
        await ledger.end(records)
        left = await database.read(lambda connection: connection.execute(PLACES).fetchone()[0])
        assert left == 2
        assert await ledger.count_unfinished() == 0
    finally:
        await database.close()
