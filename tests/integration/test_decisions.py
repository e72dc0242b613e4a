"""Unknown tasks, the two decisions about them, and late reports after a decision."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from arq.connections import RedisSettings, create_pool
from structlog.testing import capture_logs

from everpost.clock import system_clock, to_text
from everpost.metrics import Tally
from everpost.platforms import Catalogue
from everpost.publishing import InvalidError, OutcomeUnknownError
from everpost.task.model import Attempt, TaskRecord, TaskStatus
from everpost.testing import Stack
from everpost_workers.attempts.attempt import ClaimedTask
from everpost_workers.ends.recorder import EndRecorder
from everpost_workers.engine import Claim, JobOutcome, OutcomeReason
from everpost_workers.metrics import WorkerMetrics

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

CLIENTS = 30


async def unknown(stack: Stack, **fields: Any) -> str:
    """A task of unknown outcome."""
    stack.publisher.fail_next(OutcomeUnknownError("cut off"))
    task_id = await stack.publish(**fields)
    assert (await stack.wait_until_ended(task_id))["status"] == "unknown"
    return task_id


async def resolve(stack: Stack, task_id: str, decision: str, **fields: Any) -> httpx.Response:
    body = {"decision": decision, "by": "mei", "why": "I looked", **fields}
    return await stack.client.post(f"/api/v1/tasks/{task_id}/resolve", json=body)


async def waiting(stack: Stack) -> list[str]:
    """The ids of what waits for a decision."""
    listed = await stack.client.get("/api/v1/tasks", params={"status": "unknown"})
    return [row["task_id"] for row in listed.json()["data"]]


async def succeed_late(stack: Stack, task_id: str) -> list[str]:
    """The attempt that was given up on reports that the platform took the post."""
    record = TaskRecord(
        task_id=task_id,
        status=TaskStatus.SUCCESS,
        finished_at_ms=system_clock(),
        provider_post_id="late-post",
        attempt=Attempt(
            number=1, started_at="2020", finished_at=to_text(1), outcome=TaskStatus.SUCCESS, worker="frozen"
        ),
    )
    return await stack.store.ledger.end([record])


async def test_a_task_whose_post_was_found_is_marked_succeeded_and_says_by_whom(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    assert await waiting(everpost) == [task_id]
    url = "https://example.test/17"
    answer = await resolve(everpost, task_id, "succeeded", publish_url=url, provider_post_id="17")
    assert answer.status_code == 200, answer.text
    task = await everpost.task(task_id)
    assert (task["status"], task["publish_url"], task["provider_post_id"]) == ("success", url, "17")
    assert (task["error_class"], task["error_message"]) == (None, None)
    assert task["attempts"][0]["evidence"]["last_words"] == "cut off"
    assert task["decisions"] == [answer.json()["data"]]
    decided = task["decisions"][0]
    assert (decided["decided_by"], decided["why"], decided["status_before"]) == ("mei", "I looked", "unknown")
    assert await waiting(everpost) == []


async def test_a_task_whose_post_is_not_there_is_sent_again_and_waits_no_longer(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    answer = await resolve(everpost, task_id, "send_again")
    new_task_id = answer.json()["data"]["new_task_id"]
    again = await everpost.wait_until_ended(new_task_id)
    assert (again["status"], again["retry_of"]) == ("success", task_id)
    task = await everpost.task(task_id)
    assert task["status"] == "cancelled"
    assert task["error_message"] == f"Sent again as {new_task_id}; before: cut off"
    assert task["decisions"] == again["decisions"] == [answer.json()["data"]]
    assert await waiting(everpost) == []
    first, second = everpost.publisher.attempts
    assert first.idempotency_key != second.idempotency_key


async def test_once_it_was_sent_again_by_a_person_a_failure_is_retried_like_any_other(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    everpost.publisher.fail_next(InvalidError("no"))
    new_task_id = (await resolve(everpost, task_id, "send_again")).json()["data"]["new_task_id"]
    assert (await everpost.wait_until_ended(new_task_id))["status"] == "failed"
    assert (await everpost.post_retry(task_id)).status_code == 200


async def test_a_retry_by_force_is_the_same_decision_and_is_kept_as_well(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    answer = await everpost.client.post(
        f"/api/v1/tasks/retry/{task_id}", params={"force": "true", "by": "li", "why": "not there"}
    )
    (decided,) = (await everpost.task(task_id))["decisions"]
    assert decided["new_task_id"] == answer.json()["new_task_id"]
    assert (decided["decision"], decided["decided_by"], decided["why"]) == ("send_again", "li", "not there")
    assert await waiting(everpost) == []


async def test_a_bulk_retry_by_force_keeps_a_decision_for_each_task(everpost: Stack) -> None:
    task_ids = [await unknown(everpost, account_id="bulk") for _ in range(3)]
    body = {"filter": {"status": "unknown", "account_id": "bulk"}, "force": True}
    retries = (await everpost.client.post("/api/v1/tasks/batch/retry", json=body)).json()["retries"]
    assert set(retries) == set(task_ids)
    for task_id, new_task_id in retries.items():
        assert [one["new_task_id"] for one in (await everpost.task(task_id))["decisions"]] == [new_task_id]
    assert await waiting(everpost) == []


async def test_publishing_a_success_a_second_time_is_kept_and_leaves_it_a_success(everpost: Stack) -> None:
    task_id = await everpost.publish()
    await everpost.wait_until_ended(task_id)
    await everpost.post_retry(task_id, force=True)
    task = await everpost.task(task_id)
    assert task["status"] == "success"
    assert [one["status_before"] for one in task["decisions"]] == ["success"]


async def test_an_ordinary_retry_is_not_kept_as_a_decision(everpost: Stack) -> None:
    everpost.publisher.fail_next(InvalidError("no"))
    task_id = await everpost.publish()
    await everpost.wait_until_ended(task_id)
    await everpost.post_retry(task_id, force=True)  # it took no force
    assert (await everpost.task(task_id))["decisions"] == []


async def test_a_deleted_task_can_be_decided_about_in_the_archive(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    assert (await everpost.client.delete(f"/api/v1/tasks/{task_id}")).status_code == 200
    assert (await resolve(everpost, task_id, "succeeded")).status_code == 200
    assert (await everpost.task(task_id))["status"] == "success"


@pytest.mark.parametrize("decisions", [("succeeded",), ("send_again",), ("succeeded", "send_again")])
async def test_one_of_many_simultaneous_decisions_counts_and_the_others_learn_which(
    everpost: Stack, decisions: tuple[str, ...]
) -> None:
    task_id = await unknown(everpost)
    answers = await asyncio.gather(
        *(resolve(everpost, task_id, decisions[n % len(decisions)], by=f"person {n}") for n in range(CLIENTS))
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: CLIENTS - 1}
    (winner,) = (answer.json()["data"] for answer in answers if answer.status_code == 200)
    for answer in answers:
        if answer.status_code == 409:
            problem = answer.json()
            assert (problem["code"], problem["decision"]) == ("already_decided", winner)
            assert winner["decided_by"] in problem["detail"]
    task = await everpost.task(task_id)
    assert task["decisions"] == [winner]
    assert len(task["retries"]) == (winner["decision"] == "send_again")
    await everpost.drain()


@pytest.mark.parametrize("decision", ["succeeded", "send_again"])
async def test_there_is_nothing_to_decide_about_a_known_outcome(everpost: Stack, decision: str) -> None:
    task_id = await everpost.publish()
    await everpost.wait_until_ended(task_id)
    answer = await resolve(everpost, task_id, decision)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_decide")
    assert (await everpost.task(task_id))["decisions"] == []
    assert (await resolve(everpost, "nowhere", decision)).status_code == 404


@pytest.mark.parametrize("decision", ["succeeded", "send_again"])
async def test_a_task_that_only_redis_has_cannot_be_decided_about(everpost: Stack, decision: str) -> None:
    client = await create_pool(RedisSettings.from_dsn(everpost.valkey.address))
    await client.enqueue_job("publish", {"platform": 3, "title": "t"}, _job_id="not-adopted", _defer_by=3600)
    await client.aclose(close_connection_pool=True)
    answer = await resolve(everpost, "not-adopted", decision)
    assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")


WRONG_DECISIONS: Sequence[Any] = (
    ({"decision": "maybe"}, "$.decision"),
    ({"by": ""}, "$.by"),
    ({"why": "a\0b"}, "$.why"),
    ({"publish_url": "javascript:alert(1)"}, "$.publish_url"),
    ({"decision": "send_again", "publish_url": "https://e.test/1"}, "$.publish_url"),
    ({"more": 1}, "$"),
)


async def test_a_decision_that_does_not_fit_is_refused_and_changes_nothing(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    for fields, path in WRONG_DECISIONS:
        answer = await resolve(everpost, task_id, **{"decision": "succeeded", **fields})
        assert (answer.status_code, answer.json()["path"]) == (422, path)
        assert await waiting(everpost) == [task_id]


async def test_a_late_success_after_it_was_sent_again_is_told_loudly_and_never_lost(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    new_task_id = (await resolve(everpost, task_id, "send_again")).json()["data"]["new_task_id"]
    await everpost.drain()
    assert await succeed_late(everpost, task_id) == [task_id]
    for found in [await everpost.task(task_id), *(await everpost.client.get("/api/v1/tasks")).json()["data"]]:
        if found["task_id"] == task_id:
            assert (found["status"], found["provider_post_id"]) == ("success", "late-post")
            assert f"sent again as {new_task_id}: look for a second post" in found["error_message"]
    attempt = (await everpost.task(task_id))["attempts"][-1]
    assert (attempt["late"], attempt["provider_post_id"]) == (True, "late-post")


async def test_a_late_success_after_it_was_sent_again_is_an_error_in_the_log(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    new_task_id = (await resolve(everpost, task_id, "send_again")).json()["data"]["new_task_id"]
    claim: ClaimedTask = Claim(job_id=task_id, job_try=1, queue_name="arq:queue", score=1, enqueue_time_ms=1)
    outcome = JobOutcome(claim=claim, reason=OutcomeReason.COMPLETE, result={}, start_ms=1, finish_ms=2)
    with capture_logs() as lines:
        recorder = EndRecorder(everpost.store, WorkerMetrics(Tally(), Catalogue([])), worker_id="frozen")
        await recorder.record([outcome])
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert line["event"] == "task.accepted_and_sent_again"
    assert (line["task_id"], line["new_task_id"]) == (task_id, new_task_id)


async def test_a_late_success_of_a_task_marked_by_a_person_keeps_both_posts(everpost: Stack) -> None:
    task_id = await unknown(everpost)
    await resolve(everpost, task_id, "succeeded", provider_post_id="seen")
    await succeed_late(everpost, task_id)
    task = await everpost.task(task_id)
    assert (task["status"], task["provider_post_id"], task["error_message"]) == ("success", "seen", None)
    assert task["attempts"][-1]["provider_post_id"] == "late-post"


async def test_one_decision_about_many_tasks_is_kept_with_each(everpost: Stack) -> None:
    ids = [await unknown(everpost, account_id="many") for _ in range(4)]
    done = await everpost.publish(account_id="many")
    await everpost.wait_until_ended(done)
    route = "/api/v1/tasks/batch/resolve"
    asked = {"filter": {"account_id": "many"}, "decision": "succeeded", "by": "mei", "why": "All are there."}
    dry = (await everpost.client.post(route, json={**asked, "dry_run": True})).json()
    assert (dry["message"], len(await waiting(everpost))) == ("4 of 5 tasks would be resolved", 4)
    first = (await everpost.client.post(route, json={**asked, "task_ids": [*ids[:2], done]})).json()
    assert (first["success_count"], first["errors"][0]["code"]) == (2, "nothing_to_decide")
    again = await everpost.client.post(route, json={**asked, "decision": "send_again"})
    assert (again.json()["success_count"], again.json()["failed_count"]) == (2, 3)
    assert set(again.json()["retries"]) == set(ids[2:])
    for task_id in ids:
        (decided,) = (await everpost.task(task_id))["decisions"]
        assert (decided["decided_by"], decided["why"]) == ("mei", "All are there.")
        assert decided["decision"] == ("succeeded" if task_id in ids[:2] else "send_again")
    statuses = [(await everpost.task(task_id))["status"] for task_id in ids]
    assert statuses == ["success", "success", "cancelled", "cancelled"]
    assert await waiting(everpost) == []
    nobody = {name: value for name, value in asked.items() if name != "by"}
    assert (await everpost.client.post(route, json=nobody)).status_code == 422
