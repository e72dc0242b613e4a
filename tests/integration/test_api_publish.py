"""POST /publish: the task is on the disk before the answer, whole, once per Idempotency-Key."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_support import JSON, PUBLISH, TASK, Api, assert_problem, running_valkey, serving
from everpost.api.routes.publish import SAMPLE
from everpost.publishing import InvalidError
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

BIG = {
    "big": 2**63,
    "bigger": -(2**64) + 1,
    "small": 5e-324,
    "precise": 0.1 + 0.2,
    "large": 1.7976931348623157e308,
    "whole": 1.0,
    "minus_zero": -0.0,
    "nested": {"ids": [9007199254740993, 2**53 + 1], "说明": "测试 🎬", "empty": [{}, [], "", None, False]},
}


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey, redact="!*") as served:  # all is shown
        yield served


async def test_the_sample_of_the_original_is_accepted(api: Api) -> None:
    answer = await api.client.post(PUBLISH, json=SAMPLE)
    assert answer.status_code == 202
    found = answer.json()
    assert found == {
        "success": True,
        "message": "Task accepted",
        "task_id": found["task_id"],
        "status": "pending",
    }
    task = (await api.client.get(answer.headers["location"])).json()["data"]
    assert task["task_data"] == SAMPLE
    assert (task["platform"], task["account_id"], task["priority"]) == ("xiaohongshu", "test_account", 5)


async def test_every_spelling_of_json_is_read(api: Api) -> None:
    for content_type in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"):
        answer = await api.client.post(PUBLISH, content=json.dumps(TASK), headers={"content-type": content_type})
        assert answer.status_code == 202, content_type


async def test_a_task_for_later_is_scheduled(api: Api) -> None:
    answer = await api.client.post(PUBLISH, json={**TASK, "schedule_time": "2031-01-01 08:00"})
    assert answer.json()["status"] == "scheduled"


async def test_the_same_key_and_body_give_the_same_answer(api: Api) -> None:
    headers = {"idempotency-key": "order-1"}
    answers = [await api.client.post(PUBLISH, json=SAMPLE, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.text for answer in answers}) == 1
    assert await api.count_tasks() == 1


async def test_twenty_at_once_with_one_key_make_one_task(api: Api) -> None:
    headers = {"idempotency-key": "x" * 255}
    answers = await asyncio.gather(*(api.client.post(PUBLISH, json=SAMPLE, headers=headers) for _ in range(20)))
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert accepted
    assert len({answer.text for answer in accepted}) == 1
    for answer in answers:
        if answer not in accepted:
            assert_problem(answer, 409, "idempotency_key_in_use")
    assert await api.count_tasks() == 1


async def test_a_key_used_again_with_another_body_is_refused(api: Api) -> None:
    headers = {"idempotency-key": "order-1"}
    await api.client.post(PUBLISH, json=SAMPLE, headers=headers)
    answer = await api.client.post(PUBLISH, json={**SAMPLE, "title": "other"}, headers=headers)
    assert_problem(answer, 422, "idempotency_key_reused")
    assert await api.count_tasks() == 1


async def test_a_key_of_a_refused_body_is_free_again(api: Api) -> None:
    headers = {"idempotency-key": "order-1"}
    assert (await api.client.post(PUBLISH, json={"platform": 1}, headers=headers)).status_code == 422
    await api.assert_nothing_left()
    assert (await api.client.post(PUBLISH, json=SAMPLE, headers=headers)).status_code == 202


@pytest.mark.chaos
async def test_fifty_clients_at_once_are_all_served(api: Api) -> None:
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=api.address, timeout=30, limits=limits) as client:
        answers = await asyncio.gather(*(client.post(PUBLISH, json=SAMPLE) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {202}
    assert await api.count_tasks() == 200
    assert len({answer.json()["task_id"] for answer in answers}) == 200


async def test_a_full_backlog_asks_to_come_back(tmp_path: Path) -> None:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey, max_backlog=2) as api:
        await api.publish()
        await api.publish()
        answer = await api.client.post(PUBLISH, json=SAMPLE)
        problem = assert_problem(answer, 503, "backlog_full")
        assert answer.headers["retry-after"] == str(problem["retry_after"])
        assert await api.count_tasks() == 2


async def test_a_disk_that_fills_up_takes_no_more_tasks_but_their_outcomes() -> None:
    async with everpost_stack() as stack:
        stack.publisher.hold()
        stack.publisher.fail_next(InvalidError("no"))
        failing, waiting = await stack.publish(), await stack.publish()
        room = stack.app.state.services.acceptance.room
        room._least_bytes = 1 << 62
        for path, body in (
            (PUBLISH, SAMPLE),
            (f"{PUBLISH}/batch", [SAMPLE]),
            (f"/api/v1/tasks/retry/{failing}", None),
            ("/api/v1/tasks/batch/retry", {"task_ids": [failing]}),
        ):
            answer = await stack.client.post(path, json=body)
            assert_problem(answer, 503, "disk_full")
            assert answer.headers["retry-after"] == "5"
        ready = await stack.client.get("/health/ready")
        assert {check["name"]: check["ok"] for check in ready.json()["checks"]}["database"] is False
        stack.publisher.release()
        ended = {(await stack.wait_until_ended(task_id))["status"] for task_id in (failing, waiting)}
        assert ended == {"failed", "success"}
        room._least_bytes = 1
        assert await stack.publish()


async def test_tasks_are_accepted_while_redis_is_down(tmp_path: Path) -> None:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey) as api:
        await api.publish()
        await valkey.stop()
        task_id = await api.publish()
        answer = await api.client.get(f"/api/v1/tasks/{task_id}")
        assert answer.json()["data"]["status"] == "pending"
        assert answer.json()["queue_position"] is None
        assert_problem(await api.client.post(f"/api/v1/tasks/cancel/{task_id}"), 503, "queue_unreachable")
        assert (await api.client.get("/api/v1/tasks")).json()["total"] == 2


async def test_an_internal_error_tells_the_client_nothing(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    kit_of(api.settings).hide_ledger()
    answer = await api.client.post(PUBLISH, json=SAMPLE)
    problem = assert_problem(answer, 500, "internal_error")
    assert "task_queue" not in answer.text
    assert "hidden" not in problem["detail"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner)
    ),
    max_leaves=20,
)


names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1).map("x_".__add__)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(fields=st.dictionaries(names, json_values))
async def test_whatever_a_client_adds_comes_back_equal(api: Api, fields: dict[str, Any]) -> None:
    task = {**SAMPLE, **fields}
    answer = await api.client.post(PUBLISH, content=json.dumps(task), headers=JSON)
    assert answer.status_code == 202, answer.text
    assert (await api.client.get(answer.headers["location"])).json()["data"]["task_data"] == task


async def test_numbers_keep_their_value_through_history_and_retry(everpost: Stack) -> None:
    everpost.publisher.fail_next(InvalidError("no"))
    first = await everpost.publish(**BIG)
    ended = await everpost.wait_until_ended(first)
    again = (await everpost.post_retry(first)).json()["new_task_id"]
    retried = await everpost.wait_until_ended(again)
    for task in (ended, retried):
        assert {name: task["task_data"][name] for name in BIG} == BIG
        assert str(task["task_data"]["minus_zero"]) == "-0.0"
    kept = {kit_of(everpost.settings).columns(Place.HISTORY, task_id, "data") for task_id in (first, again)}
    ((text,),) = kept
    assert "测试 🎬" in text
    assert everpost.publisher.published[0].data["big"] == 2**63


async def test_every_caller_of_a_hundred_retries_gets_the_same_task(everpost: Stack) -> None:
    everpost.publisher.fail_next(InvalidError("no"))
    task_id = await everpost.publish()
    await everpost.wait_until_ended(task_id)
    everpost.publisher.hold()
    answers = await asyncio.gather(*(everpost.post_retry(task_id) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["new_task_id"] for answer in answers}) == 1

    async def started() -> bool:
        return len(everpost.publisher.attempts) == 2

    await eventually(started)
    everpost.publisher.release()
    await everpost.drain()
    assert len(everpost.publisher.published) == 1


async def test_a_request_litestar_would_refuse_is_refused_here_too(api: Api) -> None:
    assert_problem(await api.client.post(PUBLISH, json=TASK, headers={"host": 'a"b'}), 400, "bad_input")
    assert_problem(await api.client.post(f"{PUBLISH}?priority=1", json=TASK), 422, "invalid_value")
    assert_problem(await api.client.put(PUBLISH, json=TASK), 405, "method_not_allowed")
    await api.assert_nothing_left()


async def test_a_crash_says_nothing_of_itself_to_the_client(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("everpost.task.submission.SubmissionReader.check", crash)
    answer = await api.client.post(PUBLISH, json=TASK)
    assert_problem(answer, 500, "internal_error")
    assert "secret" not in answer.text
