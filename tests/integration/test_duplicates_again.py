"""The duplicate guard where tasks come about otherwise: retries, recurring posts; and what a dry run says of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from everpost.publishing import InvalidError
from everpost.testing import Stack
from integration.test_duplicates import API, POST, guarded_stack, post

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

LATER = "2030-01-01T00:00:00Z"


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with guarded_stack(tmp_path) as stack:
        yield stack


async def failed(stack: Stack, **fields: Any) -> str:
    stack.publisher.fail_next(InvalidError("no"))
    task_id = await stack.publish(**{**POST, **fields})
    assert (await stack.wait_until_ended(task_id))["status"] == "failed"
    return task_id


async def test_a_retry_is_no_duplicate_of_its_own_chain(stack: Stack) -> None:
    task_id = await failed(stack)
    stack.publisher.fail_next(InvalidError("no"))
    again = (await stack.post_retry(task_id)).json()["new_task_id"]
    await stack.wait_until_ended(again)
    third = await stack.post_retry(again)
    assert third.status_code == 200, third.text
    await stack.wait_until_ended(third.json()["new_task_id"])
    forced = await stack.post_retry(task_id, force=True)
    assert forced.status_code == 200, forced.text


async def test_a_retry_whose_twin_was_posted_meanwhile_is_refused_unless_it_is_allowed(stack: Stack) -> None:
    task_id = await failed(stack)
    _, twin = await post(stack)
    for options in ({}, {"force": True}, {"data": {"priority": 1}}):
        answer = await stack.post_retry(task_id, **options)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["task_id"]) == (409, "duplicate_post", twin["task_id"])
    bulk = await stack.client.post("/api/v1/tasks/batch/retry", json={"task_ids": [task_id]})
    assert [one["code"] for one in bulk.json()["errors"]] == ["duplicate_post"], bulk.text
    answer = await stack.post_retry(task_id, data={"title": "another"})
    assert answer.status_code == 200
    assert (await post(stack, title="another"))[0] == 409
    for running in (twin["task_id"], answer.json()["new_task_id"]):  # else one of them takes the next failure
        await stack.wait_until_ended(running)
    other = await failed(stack, title="allowed")
    assert (await post(stack, title="allowed"))[0] == 202
    assert (await stack.post_retry(other, data={"allow_duplicate": True})).status_code == 200


async def test_of_two_failed_twins_one_is_retried(stack: Stack) -> None:
    twins = [await failed(stack) for _ in range(2)]
    bulk = (await stack.client.post("/api/v1/tasks/batch/retry", json={"task_ids": twins})).json()
    assert (bulk["success_count"], [one["task_id"] for one in bulk["errors"]]) == (1, [twins[1]])


async def test_the_window_of_a_retry_begins_at_its_own_time(stack: Stack) -> None:
    task_id = await failed(stack)
    assert (await stack.post_retry(task_id, data={"schedule_time": LATER})).status_code == 200
    assert (await post(stack))[0] == 202
    assert (await post(stack, schedule_time="2030-01-01T00:59:00Z"))[0] == 409


async def test_a_dry_run_names_the_earlier_task(stack: Stack) -> None:
    assert (await stack.client.post(API, json=POST, params={"dry_run": True})).status_code == 200
    _, first = await post(stack)
    answer = await stack.client.post(API, json=POST, params={"dry_run": True})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["task_id"]) == (409, "duplicate_post", first["task_id"])
    allowed = await stack.client.post(API, json={**POST, "allow_duplicate": True}, params={"dry_run": True})
    assert allowed.status_code == 200


async def test_a_recurring_post_may_repeat_its_content_once_the_window_has_passed(stack: Stack) -> None:
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("59 9 * * *", {}, 201),
        ("0,30 9 * * *", {}, 422),
        ("0 * * * *", {}, 201),
        ("* * * * *", {}, 422),
        ("* * * * *", {"allow_duplicate": True}, 201),
        ("* * * * *", {"platform": "kuaishou"}, 201),
    ]
    for number, (cron, data, status) in enumerate(cases):
        wanted = {"name": f"{number}", "cron": cron, "data": {**POST, **data}}
        answer = await stack.client.post("/api/v1/recurring", json=wanted)
        assert answer.status_code == status, (cron, data, answer.text)
        if status == 422:
            assert answer.json()["path"] == "$.cron"
