"""Retries with edited data: what runs, what is kept, and who is told of whose edit."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from api_support import assert_problem
from everpost.publishing import InvalidError
from everpost.testing import Stack
from integration.test_files import upload
from media_samples import png

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

TASK: dict[str, Any] = {
    "platform": 2,
    "account_id": "shop",
    "title": "wrong",
    "cover": "c.png",
    "priority": 3,
    "extra": {"kept": 2**70, "changed": 1},
}
PATCH: dict[str, Any] = {"title": "right", "cover": None, "extra": {"changed": 2}}
EDITED = {**TASK, "title": "right", "extra": {"kept": 2**70, "changed": 2}}
del EDITED["cover"]


async def failed_task(stack: Stack, **fields: Any) -> str:
    """A task that has failed for good."""
    stack.publisher.fail_next(InvalidError("the platform says no"))
    task_id = await stack.publish(**fields)
    assert (await stack.wait_until_ended(task_id))["status"] == "failed"
    return task_id


async def test_an_edited_retry_runs_with_the_new_data_and_both_versions_are_kept(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    answer = (await everpost.post_retry(task_id, data=PATCH)).json()
    assert answer["patched"] is True
    new = await everpost.wait_until_ended(answer["new_task_id"])
    assert (new["task_data"], new["title"], new["priority"], new["retry_of"]) == (EDITED, "right", 3, task_id)
    assert everpost.publisher.published[-1].data == EDITED
    old = await everpost.task(task_id)
    assert (old["task_data"], old["title"]) == (TASK, "wrong")
    assert [retry["task_id"] for retry in old["retries"]] == [new["task_id"]]


async def test_a_waiting_task_is_replaced_by_its_edited_retry(everpost: Stack) -> None:
    task_id = await everpost.publish(**TASK, schedule_time="2030-01-01T00:00:00Z")
    data = {"schedule_time": None, "account_id": "other", "priority": 0}
    answer = (await everpost.post_retry(task_id, data=data)).json()
    new = await everpost.wait_until_ended(answer["new_task_id"])
    assert (new["status"], new["account_id"], new["priority"]) == ("success", "other", 0)
    old = await everpost.task(task_id)
    assert (old["status"], old["account_id"]) == ("cancelled", "shop")


async def test_of_concurrent_retries_with_different_edits_one_wins_and_the_others_learn_which(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    await everpost.stop_workers()
    titles = [f"title {number % 4}" for number in range(12)]
    answers = await asyncio.gather(*(everpost.post_retry(task_id, data={"title": title}) for title in titles))
    won = {title for title, answer in zip(titles, answers, strict=True) if answer.status_code == 200}
    new_ids = {answer.json()["new_task_id"] for answer in answers if answer.status_code == 200}
    (new_id,), (title,) = new_ids, won
    assert (await everpost.task(new_id))["title"] == title
    refused = [answer.json() for answer in answers if answer.status_code != 200]
    assert {(one["code"], one["status"], one["task_id"]) for one in refused} == {("retry_exists", 409, new_id)}
    assert len(refused) == 9


async def test_a_plain_retry_is_told_that_the_unfinished_one_is_edited(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    await everpost.stop_workers()
    first = (await everpost.post_retry(task_id, data=PATCH)).json()
    plain = (await everpost.post_retry(task_id)).json()
    assert (plain["new_task_id"], plain["patched"]) == (first["new_task_id"], True)
    assert plain["warning"] == "Its unfinished retry has edited data"
    same = (await everpost.post_retry(task_id, data=PATCH)).json()
    assert (same["new_task_id"], same["patched"]) == (first["new_task_id"], True)
    other = await everpost.post_retry(task_id, data={"title": "third"})
    assert (other.status_code, other.json()["task_id"]) == (409, first["new_task_id"])


async def test_an_edit_is_checked_like_a_submission(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)

    async def refusal(data: Any) -> tuple[int, str, str | None]:
        answer = await everpost.post_retry(task_id, data=data)
        problem = answer.json()
        return answer.status_code, problem["code"], problem.get("path")

    assert await refusal({"title": 7}) == (422, "invalid_value", "$.data.title")
    assert await refusal({"account_id": None}) == (422, "invalid_value", "$.data")
    assert await refusal({"platform": "nowhere"}) == (422, "unknown_platform", "$.data.platform")
    assert await refusal({"schedule_time": "soon"}) == (422, "invalid_value", "$.data.schedule_time")
    assert await refusal(["title"]) == (422, "invalid_value", "$.data")
    assert (await everpost.task(task_id))["retries"] == []


async def test_a_merge_patch_is_the_body_of_a_retry_as_it_is_of_an_edit(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    kind = "application/merge-patch+json"
    bad = (await _post(everpost, task_id, b'{"title": 7}', kind)).json()
    assert (bad["code"], bad["path"]) == ("invalid_value", "$.title")
    assert (await _post(everpost, task_id, b"[]", kind)).status_code == 422
    content = msgspec.json.encode({**PATCH, "data": {"kept": 1}})
    answer = (await _post(everpost, task_id, content, f"{kind}; charset=utf-8")).json()
    assert (answer["patched"], answer["unknown_fields"]) == (True, ["extra", "data"])
    new = await everpost.wait_until_ended(answer["new_task_id"])
    assert new["task_data"] == {**EDITED, "data": {"kept": 1}}
    again = (await everpost.post_retry(new["task_id"], force=True, data={"extra": None, "data": None})).json()
    assert "unknown_fields" not in again


async def test_an_edited_retry_that_exists_is_answered_with_its_unknown_fields(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    await everpost.stop_workers()
    answers = [(await everpost.post_retry(task_id, data={"scheduled_time": "x"})).json() for _ in range(2)]
    assert [answer["unknown_fields"] for answer in answers] == [["extra", "scheduled_time"]] * 2
    assert "unknown_fields" not in (await everpost.post_retry(task_id)).json()


NO_EDITS = [
    (b'{"data": {"title": "x"}', "application/json", 400),
    (b"[]", "application/json", 422),
    (b"title=x", "application/x-www-form-urlencoded", 415),
    (b'{"data": ' + b'{"a":' * 80 + b"1" + b"}" * 81, "application/json", 400),
]


async def test_a_body_that_is_no_edit_is_refused_and_nothing_is_retried(everpost: Stack) -> None:
    task_id = await failed_task(everpost, **TASK)
    for content, content_type, status in NO_EDITS:
        answer = await _post(everpost, task_id, content, content_type)
        assert answer.status_code == status, content
    assert (await everpost.task(task_id))["retries"] == []


async def test_a_body_without_an_edit_is_a_plain_retry(everpost: Stack) -> None:
    for content in (b"{}", b'{"data": null}', b'{"data": {}}', b'{"force": true}'):
        task_id = await failed_task(everpost, **TASK)
        answer = (await _post(everpost, task_id, content, "application/json")).json()
        assert "patched" not in answer
        assert (await everpost.wait_until_ended(answer["new_task_id"]))["task_data"] == TASK


async def test_many_tasks_are_retried_with_one_edit_or_are_named(everpost: Stack) -> None:
    fitting = await failed_task(everpost, **TASK)
    odd = await failed_task(everpost, **{**TASK, "extra": {"tags": 1}, "tags": ["a"]})
    body = {"task_ids": [fitting, odd], "data": {"title": "right", "tags": ["x"] * 1_000}}
    answer = (await everpost.client.post("/api/v1/tasks/batch/retry", json=body)).json()
    assert (answer["success_count"], answer["failed_count"]) == (2, 0)
    assert {(await everpost.task(new_id))["title"] for new_id in answer["new_task_ids"]} == {"right"}
    again = {"task_ids": [answer["new_task_ids"][0]], "data": {"title": 7}, "force": True}
    await everpost.wait_until_ended(answer["new_task_ids"][0])
    refused = (await everpost.client.post("/api/v1/tasks/batch/retry", json=again)).json()
    assert [error["code"] for error in refused["errors"]] == ["invalid_value"]
    cancelled = await everpost.client.post("/api/v1/tasks/batch/cancel", json={"task_ids": [odd], "data": {"a": 1}})
    assert (cancelled.status_code, cancelled.json()["path"]) == (422, "$.data")


async def _post(stack: Stack, task_id: str, content: bytes, content_type: str) -> httpx.Response:
    headers = {"Content-Type": content_type}
    return await stack.client.post(f"/api/v1/tasks/retry/{task_id}", content=content, headers=headers)


async def test_the_files_of_an_edited_retry_are_checked_and_kept(everpost: Stack) -> None:
    old, new = [(await upload(everpost, png(8, size)))["file_id"] for size in (8, 9)]
    task_id = await failed_task(everpost, **TASK, file_id=old)
    missing = "0" * 32
    several = {"file_id": None, "files": [{"file_id": new}, {"file_id": missing}]}
    for name, data in (("file_id", {"file_id": missing}), ("files[1]", several)):
        problem = assert_problem(await everpost.post_retry(task_id, data=data), 422, "unknown_file")
        assert problem["path"].startswith(f"$.data.{name}"), problem
    bulk = {"task_ids": [task_id], "data": {"file_id": missing}}
    answer = (await everpost.client.post("/api/v1/tasks/batch/retry", json=bulk)).json()
    assert [one["code"] for one in answer["errors"]] == ["unknown_file"]
    assert (await everpost.task(task_id))["retries"] == []
    later = {"file_id": new, "schedule_time": "2030-01-01T00:00:00Z"}
    again = (await everpost.post_retry(task_id, data=later)).json()["new_task_id"]
    in_use = assert_problem(await everpost.client.delete(f"/api/v1/files/{new}"), 409, "file_in_use")
    assert in_use["task_ids"] == [again]
    assert (await everpost.client.delete(f"/api/v1/files/{old}")).status_code == 200
    last = (await everpost.post_retry(again, data={"file_id": None})).json()["new_task_id"]
    assert (await everpost.client.delete(f"/api/v1/files/{new}")).status_code == 200
    assert (await everpost.task(last))["retry_of"] == again
