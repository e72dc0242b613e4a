"""Bulk work over HTTP: by ids, by filter, by both; small at once, large in the background."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api_support import assert_problem
from everpost.actions.bulk import AT_ONCE
from everpost.publishing import InvalidError
from everpost.testing import Stack, eventually, everpost_stack

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

API = "/api/v1/tasks"


@pytest_asyncio.fixture
async def idle_stack() -> AsyncIterator[Stack]:
    async with everpost_stack(workers=0) as stack:
        yield stack


async def failed_tasks(stack: Stack, count: int, **fields: Any) -> list[str]:
    stack.publisher.fail_when(lambda _: InvalidError("no"))
    ids = [await stack.publish(**fields) for _ in range(count)]
    await stack.drain()
    stack.publisher.fail_when(lambda _: None)
    return ids


async def post(stack: Stack, route: str, body: Any) -> Any:
    answer = await stack.client.post(f"{API}/{route}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_batch_retry_answers_the_result_of_each_task(everpost: Stack) -> None:
    ids = await failed_tasks(everpost, 3)
    answer = await post(everpost, "batch/retry", {"task_ids": [*ids, "nobody"]})
    assert (answer["success"], answer["message"]) == (True, "3 of 4 tasks retried")
    assert (answer["success_count"], answer["failed_count"], answer["status"]) == (3, 1, "done")
    assert list(answer["retries"]) == ids
    assert answer["new_task_ids"] == list(answer["retries"].values())
    assert answer["errors"] == [{"task_id": "nobody", "code": "task_not_found", "detail": "No store knows the id."}]
    await everpost.drain()
    listed = await everpost.client.get(API, params={"batch_id": answer["operation_id"]})
    assert {task["task_id"] for task in listed.json()["data"]} == set(answer["new_task_ids"])


async def test_ids_and_a_filter_mean_the_ids_that_match(everpost: Stack) -> None:
    one, two = await failed_tasks(everpost, 2)
    (other,) = await failed_tasks(everpost, 1, platform=2)
    body = {
        "task_ids": [one, other],
        "filter": {"status": "failed", "platform": 1, "created_after": "2026-01-01"},
    }
    dry = await post(everpost, "batch/retry", {**body, "dry_run": True})
    assert (dry["dry_run"], dry["operation_id"], dry["message"]) == (True, None, "1 of 1 tasks would be retried")
    answer = await post(everpost, "batch/retry", body)
    assert list(answer["retries"]) == [one]
    assert (await everpost.task(two))["retries"] == []


async def test_a_batch_is_cancelled_and_deleted(everpost: Stack) -> None:
    ids = [await everpost.publish(schedule_time="2031-01-01") for _ in range(3)]
    refused = await post(everpost, "batch/delete", {"task_ids": ids[:1]})
    assert refused["errors"][0]["code"] == "task_unfinished"
    assert (await post(everpost, "batch/cancel", {"filter": {"status": "scheduled"}}))["success_count"] == 3
    assert (await post(everpost, "batch/delete", {"task_ids": ids}))["message"] == "3 of 3 tasks deleted"
    assert (await everpost.client.get(API)).json()["total"] == 0


async def test_a_large_batch_goes_on_in_the_background(idle_stack: Stack) -> None:
    lines = b'{"platform": 1, "account_id": "a", "schedule_time": "2031-01-01"}\n' * (AT_ONCE + 1)
    headers = {"content-type": "application/x-ndjson"}
    assert (await idle_stack.client.post("/api/v1/publish/batch", content=lines, headers=headers)).status_code == 202
    answer = await idle_stack.client.post(f"{API}/batch/cancel", json={"filter": {"status": "scheduled"}})
    assert answer.status_code == 202
    begun = answer.json()
    assert (begun["status"], begun["total"]) == ("running", AT_ONCE + 1)
    location = answer.headers["location"]
    assert location == f"/api/v1/operations/{begun['operation_id']}"

    async def finished() -> Any:
        state = (await idle_stack.client.get(location)).json()
        return state if state["status"] != "running" else None

    state = await eventually(finished)
    assert (state["status"], state["success_count"], state["errors"]) == ("done", AT_ONCE + 1, [])


async def test_clearing_cancels_waiting_tasks_and_archives_ended_ones(everpost: Stack) -> None:
    await failed_tasks(everpost, 2)
    await everpost.publish(schedule_time="2031-01-01")
    problem = assert_problem(await everpost.client.post(f"{API}/clear/all"), 409, "tasks_pending")
    assert problem["detail"].startswith("1 task")
    assert (await post(everpost, "clear/failed?dry_run=true", None))["message"] == "2 of 2 tasks would be deleted"
    assert (await post(everpost, "clear/failed", None))["success_count"] == 2
    assert (await post(everpost, "clear/pending", None))["message"] == "1 of 1 tasks cancelled"
    assert (await post(everpost, "clear/all", None))["success_count"] == 1
    assert (await everpost.client.get(API)).json()["total"] == 0


async def undo(stack: Stack, operation_id: str) -> Any:
    answer = await stack.client.post(f"/api/v1/operations/{operation_id}/undo")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_cancellation_is_undone_once_and_exactly(everpost: Stack) -> None:
    fields = {"schedule_time": "2031-01-01", "title": "same"}
    ids = [await everpost.publish(**fields) for _ in range(5)]
    await everpost.client.post(f"{API}/cancel/{ids[4]}")
    cancelled = await post(everpost, "batch/cancel", {"task_ids": ids})
    assert (cancelled["success_count"], cancelled["failed_count"]) == (4, 1)
    by_hand = (await everpost.client.post(f"{API}/retry/{ids[0]}")).json()["new_task_id"]
    again = (await everpost.client.post(f"{API}/retry/{ids[1]}")).json()["new_task_id"]
    await everpost.client.post(f"{API}/cancel/{again}")
    undone = await asyncio.gather(*(undo(everpost, cancelled["operation_id"]) for _ in range(5)))
    assert {(one["operation_id"], one["brought_back"], one["is_whole"]) for one in undone} == {
        (undone[0]["operation_id"], 2, True)
    }
    assert undone[0]["message"] == "2 of 4 tasks retried"
    made = (await everpost.client.get(API, params={"batch_id": undone[0]["operation_id"]})).json()["data"]
    assert {task["retry_of"] for task in made} == set(ids[2:4])
    assert {(task["status"], task["title"]) for task in made} == {("scheduled", "same")}
    progress = (await everpost.client.get(f"/api/v1/operations/{undone[0]['operation_id']}")).json()
    assert (progress["kind"], progress["status"]) == ("undo", "done")
    assert {one["task_id"]: one["code"] for one in progress["errors"]} == {ids[0]: "retry_exists", ids[1]: "superseded"}
    assert [retry["task_id"] for retry in (await everpost.task(ids[0]))["retries"]] == [by_hand]
    for task in made:
        await everpost.client.post(f"{API}/cancel/{task['task_id']}")
    await undo(everpost, cancelled["operation_id"])
    assert [len((await everpost.task(task_id))["retries"]) for task_id in ids] == [1, 1, 1, 1, 0]
    entries = (await everpost.client.get("/api/v1/audit", params={"action": "undo_operation"})).json()["data"]
    assert len(entries) == 6
    assert entries[0]["details"]["undone_by"] == undone[0]["operation_id"]


async def test_a_large_cancellation_is_undone_in_the_background(idle_stack: Stack) -> None:
    lines = b'{"platform": 1, "account_id": "a", "schedule_time": "2031-01-01"}\n' * (AT_ONCE + 1)
    headers = {"content-type": "application/x-ndjson"}
    await idle_stack.client.post("/api/v1/publish/batch", content=lines, headers=headers)
    begun = (await idle_stack.client.post(f"{API}/batch/cancel", json={"filter": {"status": "scheduled"}})).json()
    too_early = await idle_stack.client.post(f"/api/v1/operations/{begun['operation_id']}/undo")
    if too_early.status_code != 200:
        assert_problem(too_early, 409, "conflict")
    await ended(idle_stack, begun["operation_id"])
    answer = await undo(idle_stack, begun["operation_id"])
    assert (await ended(idle_stack, answer["operation_id"]))["success_count"] == AT_ONCE + 1
    again = await undo(idle_stack, begun["operation_id"])
    assert (again["operation_id"], again["brought_back"], again["is_whole"]) == (
        answer["operation_id"], AT_ONCE + 1, True,
    )  # fmt: skip
    assert (await idle_stack.client.get(API, params={"status": "scheduled"})).json()["total"] == AT_ONCE + 1


async def ended(stack: Stack, operation_id: str) -> Any:
    """The operation, once it has ended."""

    async def look() -> Any:
        state = (await stack.client.get(f"/api/v1/operations/{operation_id}")).json()
        return state if state["status"] != "running" else None

    return await eventually(look, timeout_s=60, what="the end of bulk work")
