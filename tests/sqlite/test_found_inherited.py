"""Rows of original files with whatever stands in them: shown, listed, retried, and never published twice in silence."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from everpost.task.retry_plan import UNSCHEDULED
from everpost.testing import Stack, everpost_stack
from sqlite.kit import run_sql
from sqlite.original_database import TASK_DATA

DATA = '{"platform": 1, "account_id": "a"}'
TIMES = [20_240_101, 1_700_000_000.5, b"\xff", "garbage", "9999-12-31T23:59:59-12:00", "", 10**17, float("inf"), 0]


async def insert(stack: Stack, table: str, **row: Any) -> None:
    run_sql(stack, f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())


async def inherit_queued(stack: Stack, task_id: str, **row: Any) -> None:
    await insert(stack, "task_queue", **{"task_id": task_id, "task_type": "publish", "data": DATA, **row})


async def inherit_ended(stack: Stack, task_id: str, **row: Any) -> None:
    await insert(stack, "publish_tasks", **{"job_id": task_id, "platform": "1", "status": "failed", **row})


@pytest.mark.parametrize(("of_history", "status"), [("failed", 200), ("success", 409), ("running", 409)])
async def test_an_id_in_the_queue_and_the_history_is_retried_as_both_allow(of_history: str, status: int) -> None:
    async with everpost_stack(workers=0) as stack:
        await inherit_queued(stack, "twice")
        await inherit_ended(stack, "twice", status=of_history, task_data=DATA)
        assert (await stack.post_retry("twice")).status_code == status
        assert len(run_sql(stack, "SELECT 1 FROM publish_tasks")) == (2 if status == 200 else 1)


async def test_an_id_in_the_queue_and_the_history_can_be_cancelled() -> None:
    async with everpost_stack(workers=0) as stack:
        await inherit_queued(stack, "twice")
        await inherit_ended(stack, "twice", task_data=DATA)
        assert (await stack.client.post("/api/v1/tasks/cancel/twice")).status_code == 200
        assert (await stack.task("twice"))["status"] == "failed"
        statuses = run_sql(stack, "SELECT job_id, status FROM publish_tasks ORDER BY task_id")
        assert statuses == [("twice", "failed"), (None, "cancelled")]


def requests(stack: Stack, task_id: str) -> Iterator[Any]:
    yield stack.client.get(f"/api/v1/tasks/{task_id}")
    yield stack.client.get("/api/v1/tasks", params={"limit": 1000})
    yield stack.client.get("/api/v1/tasks", params={"created_after": "2020-01-01", "created_before": "2090-01-01"})
    yield stack.client.get("/api/v1/tasks/logs/recent")
    yield stack.client.get("/metrics")
    yield stack.post_retry(task_id)


async def test_no_time_makes_a_request_fail() -> None:
    async with everpost_stack(workers=0) as stack:
        ids = []
        for number, time in enumerate(TIMES):
            times = {"created_at": time, "updated_at": time, "completed_at": time}
            await inherit_ended(stack, f"h{number}", task_data=DATA, **times)
            await inherit_queued(stack, f"q{number}", started_at=time, **times)
            ids += [f"h{number}", f"q{number}"]
        for task_id in ids:
            assert [(await request).status_code for request in requests(stack, task_id)] == [200] * 6, task_id


async def test_a_list_goes_on_behind_times_that_are_numbers() -> None:
    async with everpost_stack(workers=0) as stack:
        for number, time in enumerate([20_240_101, 5.5, 0, "2024-01-01 10:00:00", None]):
            await inherit_ended(stack, f"h{number}", created_at=time)
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await stack.client.get("/api/v1/tasks", params={"limit": 1, **cursor})).json()
            found += [task["task_id"] for task in page["data"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == ["h3", "h0", "h1", "h2", "h4"]


@pytest.mark.parametrize("value", [None, "x", 5.5, b"\xff\xfe", "9" * 5000, "[" * 100_000])
async def test_no_column_makes_a_retry_crash(value: Any) -> None:
    async with everpost_stack(workers=0) as stack:
        for column in ("platform", "account_id", "material_id", "title", "tags", "cover", "schedule_time"):
            await inherit_ended(stack, column, **{"account_id": "a", column: value})
            statuses = [(await request).status_code for request in requests(stack, column)]
            assert statuses[:-1] == [200] * 5, column
            assert statuses[-1] in {200, 404, 422}, column


@pytest.mark.parametrize(("material_id", "file_id"), [("123", 123), ("007", "007"), ("0", 0), ("9" * 30, "9" * 30)])
async def test_a_rebuilt_file_id_is_a_number_only_if_no_digit_is_lost(material_id: str, file_id: Any) -> None:
    async with everpost_stack(workers=0) as stack:
        await inherit_ended(stack, "old", account_id="a", material_id=material_id)
        await stack.post_retry("old")
        [(data,)] = run_sql(stack, "SELECT data FROM task_queue")
        assert msgspec.json.decode(data)["file_id"] == file_id


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
async def test_a_schedule_beyond_all_years_runs_at_once_and_says_so(time: str) -> None:
    async with everpost_stack(workers=0) as stack:
        await inherit_queued(stack, "old", data=f'{{"platform": 1, "schedule_time": "{time}"}}')
        answer = await stack.post_retry("old")
        assert (answer.status_code, answer.json()["warning"]) == (200, UNSCHEDULED)


async def test_an_odd_row_keeps_no_other_of_its_claim_from_being_found(everpost: Stack) -> None:
    insert = (
        "INSERT INTO task_queue (task_id, task_type, status, retry_count, generation, root_id, platform, attempts) "
    )
    run_sql(
        everpost, insert + "VALUES ('odd', 'publish', x'ff', 'many', x'31', x'fe', CAST(x'61ff00' AS TEXT), x'5b5d')"
    )
    run_sql(everpost, insert + "VALUES ('bare', 'publish', NULL, NULL, NULL, NULL, 'a' || char(0), NULL)")
    claimed = await everpost.store.ledger.check_claims(dict.fromkeys(["odd", "bare", "unknown"]))
    known, ended = claimed.known, claimed.ended
    assert (set(known), ended) == ({"odd", "bare"}, set())
    assert (known["odd"].spent, known["odd"].generation, known["bare"].chain_id) == (0, 1, "bare")


async def test_the_originals_own_sql_shows_the_whole_json(everpost: Stack) -> None:
    task_id = await everpost.publish(**TASK_DATA)
    await everpost.wait_until_ended(task_id)
    rows = run_sql(everpost, "SELECT celery_task_id, task_data FROM publish_tasks WHERE celery_task_id = ?", task_id)
    assert [(found, msgspec.json.decode(data)) for found, data in rows] == [(task_id, TASK_DATA)]
    assert "测试视频" in rows[0][1]
