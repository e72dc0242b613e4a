"""Fan-outs over HTTP: one content, many accounts, one status; a retry of the failures, and a cancellation."""

import asyncio
from typing import Any

import httpx
import pytest

from everpost.api.routes import fanout
from everpost.publishing import InvalidError, OutcomeUnknownError
from everpost.testing import Stack, eventually

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

CONTENT: dict[str, Any] = {"title": "共同", "tags": ["a"], "cover": "c.png", "extra": {"big": 2**70}}
URL = "/api/v1/publish/fanout"


def accounts(*names: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"platform": 1, "account_id": name, **fields} for name in names]


async def post(stack: Stack, content: Any, accounts: Any, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await stack.client.post(URL, json={"content": content, "accounts": accounts}, headers=headers)


async def show(stack: Stack, fanout_id: str) -> dict[str, Any]:
    answer = await stack.client.get(f"{URL}/{fanout_id}")
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def ended(stack: Stack, fanout_id: str) -> dict[str, Any]:
    async def has_ended() -> bool:
        return bool((await show(stack, fanout_id))["status"] != "running")

    await eventually(has_ended, what="every task of the fan-out to end")
    return await show(stack, fanout_id)


async def partly_failed(stack: Stack, *, unknown: bool = False) -> str:
    """A fan-out to two accounts of which one has failed, or is unknown."""
    stack.publisher.fail_next(OutcomeUnknownError("lost") if unknown else InvalidError("the platform says no"))
    fanout_id: str = (await post(stack, CONTENT, accounts("x", "y"))).json()["fanout_id"]
    assert (await ended(stack, fanout_id))["status"] == "partial"
    return fanout_id


async def test_each_account_gets_the_content_with_its_own_fields(everpost: Stack) -> None:
    other = {"platform": 3, "account_id": "y", "title": "自己", "cover": None, "extra": {"more": 1}}
    answer = await post(everpost, CONTENT, [*accounts("x"), other])
    body = answer.json()
    assert (answer.status_code, body["success"], body["accepted"], body["status"]) == (202, True, 2, "running")
    assert answer.headers["location"] == f"{URL}/{body['fanout_id']}"
    done = await ended(everpost, body["fanout_id"])
    assert (done["status"], done["total"], done["counts"]["success"]) == ("success", 2, 2)
    tasks = [await everpost.task(account["task_id"]) for account in done["accounts"]]
    assert [task["task_data"] for task in tasks] == [
        {**CONTENT, "platform": 1, "account_id": "x"},
        {"title": "自己", "tags": ["a"], "extra": {"big": 2**70, "more": 1}, "platform": 3, "account_id": "y"},
    ]
    assert {task["batch_id"] for task in tasks} == {body["fanout_id"]}
    assert [result["task_id"] for result in body["results"]] == [task["task_id"] for task in tasks]


async def test_accounts_whose_data_is_not_valid_are_named_and_the_others_are_posted(everpost: Stack) -> None:
    wrong = [
        {"platform": 1, "account_id": "a", "title": 7},
        {"platform": "nowhere", "account_id": "b"},
        {"platform": 1},
        {"platform": 1, "account_id": "d", "priority": 12},
    ]
    answer = (await post(everpost, CONTENT, [*wrong, *accounts("good")])).json()
    assert (answer["accepted"], answer["rejected"], answer["success"]) == (1, 4, False)
    assert [(result.get("code"), result.get("path")) for result in answer["results"]] == [
        ("invalid_value", "$.accounts[0].title"),
        ("unknown_platform", "$.accounts[1].platform"),
        ("invalid_value", "$.accounts[2]"),
        ("invalid_value", "$.accounts[3].priority"),
        (None, None),
    ]
    done = await ended(everpost, answer["fanout_id"])
    assert (done["status"], done["counts"]["rejected"], done["counts"]["success"]) == ("partial", 4, 1)
    assert done["accounts"][1]["code"] == "unknown_platform"


async def test_a_fan_out_without_any_valid_account_is_refused_and_not_kept(everpost: Stack) -> None:
    answer = await post(everpost, {**CONTENT, "tags": 7}, accounts("x", "y"), key="k")
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["status"]) == (422, 0, "failed")
    assert {result["path"] for result in body["results"]} == {"$.content.tags"}
    assert (await everpost.client.get(f"{URL}/{body['fanout_id']}")).json()["code"] == "fanout_not_found"
    assert (await post(everpost, CONTENT, accounts("x"), key="k")).status_code == 202  # the key is free


async def test_only_the_failures_are_retried_and_stay_in_the_fan_out(everpost: Stack) -> None:
    fanout_id = await partly_failed(everpost)
    before = {account["account_id"]: account for account in (await show(everpost, fanout_id))["accounts"]}
    answer = (await everpost.client.post(f"{URL}/{fanout_id}/retry")).json()
    assert (answer["success_count"], answer["failed_count"]) == (1, 0)
    done = await ended(everpost, fanout_id)
    assert (done["status"], done["counts"]["success"], done["total"]) == ("success", 2, 2)
    (retried,) = [account for account in done["accounts"] if account.get("retries")]
    assert retried["first_task_id"] == before[retried["account_id"]]["task_id"]
    assert (await everpost.task(retried["task_id"]))["batch_id"] == fanout_id
    assert (await everpost.client.post(f"{URL}/{fanout_id}/retry")).json()["total"] == 0


async def test_a_retry_of_one_task_counts_too(everpost: Stack) -> None:
    fanout_id = await partly_failed(everpost)
    (failed,) = [one for one in (await show(everpost, fanout_id))["accounts"] if one["status"] == "failed"]
    await everpost.post_retry(failed["task_id"], data={"title": "better"})
    assert (await ended(everpost, fanout_id))["status"] == "success"


async def test_simultaneous_retries_of_a_fan_out_make_one_task_for_each_failure(everpost: Stack) -> None:
    fanout_id = await partly_failed(everpost)
    await everpost.stop_workers()
    answers = await asyncio.gather(*(everpost.client.post(f"{URL}/{fanout_id}/retry") for _ in range(8)))
    new_ids = {new_id for answer in answers for new_id in answer.json()["new_task_ids"]}
    assert len(new_ids) == 1
    listed = (await everpost.client.get("/api/v1/tasks", params={"batch_id": fanout_id})).json()
    assert listed["total"] == 3


async def test_an_unknown_outcome_is_retried_only_with_force_and_with_edited_data(everpost: Stack) -> None:
    fanout_id = await partly_failed(everpost, unknown=True)
    assert (await everpost.client.post(f"{URL}/{fanout_id}/retry")).json()["total"] == 0
    answer = await everpost.client.post(
        f"{URL}/{fanout_id}/retry", params={"force": "true"}, json={"data": {"title": "again"}}
    )
    (new_id,) = answer.json()["new_task_ids"]
    assert (await ended(everpost, fanout_id))["status"] == "success"
    assert (await everpost.task(new_id))["title"] == "again"


async def test_the_rest_of_a_fan_out_is_cancelled(everpost: Stack) -> None:
    later = accounts("later", schedule_time="2030-01-01T00:00:00Z")
    fanout_id = (await post(everpost, CONTENT, [*accounts("now"), *later])).json()["fanout_id"]

    async def is_published() -> bool:
        return bool((await show(everpost, fanout_id))["counts"]["success"] == 1)

    await eventually(is_published, what="the first task to end")
    assert (await show(everpost, fanout_id))["status"] == "running"
    answer = (await everpost.client.post(f"{URL}/{fanout_id}/cancel")).json()
    assert (answer["success_count"], answer["kind"]) == (1, "cancel")
    done = await show(everpost, fanout_id)
    assert (done["status"], done["counts"]["cancelled"], done["counts"]["success"]) == ("partial", 1, 1)


async def test_a_fan_out_with_a_key_is_made_once(everpost: Stack) -> None:
    answers = await asyncio.gather(*(post(everpost, CONTENT, accounts("x", "y"), key="k") for _ in range(5)))
    made = {answer.json()["fanout_id"] for answer in answers if answer.status_code == 202}
    assert {answer.status_code for answer in answers} <= {202, 409}
    again = await post(everpost, CONTENT, accounts("x", "y"), key="k")
    assert {again.json()["fanout_id"]} == made
    assert (await post(everpost, CONTENT, accounts("x"), key="k")).json()["code"] == "idempotency_key_reused"
    listed = (await everpost.client.get("/api/v1/tasks", params={"batch_id": made.pop()})).json()
    assert listed["total"] == 2


NO_FANOUTS: list[tuple[Any, str]] = [
    ({"content": CONTENT}, "$"),
    ({"content": CONTENT, "accounts": []}, "$.accounts"),
    ({"content": CONTENT, "accounts": [{}] * 1_001}, "$.accounts"),
    ({"content": [], "accounts": accounts("x")}, "$.content"),
    ({"content": CONTENT, "accounts": ["x"]}, "$.accounts[0]"),
    ({"content": CONTENT, "accounts": accounts("x"), "acounts": 1}, "$"),
    ([], "$"),
]


async def test_a_body_that_is_no_fan_out_is_refused(everpost: Stack) -> None:
    for body, path in NO_FANOUTS:
        answer = await everpost.client.post(URL, json=body)
        assert (answer.status_code, answer.json()["code"], answer.json()["path"]) == (422, "invalid_value", path), body


async def test_a_fan_out_takes_only_so_much_memory(everpost: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "MOST_BYTES", 10_000)
    answer = await post(everpost, {"title": "x" * 1_000}, accounts(*map(str, range(50))))
    assert (answer.status_code, answer.json()["path"]) == (422, "$.accounts")


async def test_an_unknown_fan_out_is_not_found(everpost: Stack) -> None:
    for fanout_id in ("nowhere", "%00", "x" * 129):
        answers = [
            await everpost.client.get(f"{URL}/{fanout_id}"),
            await everpost.client.post(f"{URL}/{fanout_id}/retry"),
            await everpost.client.post(f"{URL}/{fanout_id}/cancel"),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "fanout_not_found")}
