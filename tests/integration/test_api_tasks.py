"""Looking at tasks, waiting for them, listing, cancelling, deleting them; with a worker, and real ends."""

import asyncio
import time
from typing import Any

import pytest

from api_support import assert_problem
from everpost.publishing import InvalidError
from everpost.task.place import Place
from everpost.testing import Stack, eventually
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

API = "/api/v1/tasks"


async def wait_for_attempt(stack: Stack) -> None:
    async def begun() -> bool:
        return bool(stack.publisher.attempts)

    await eventually(begun)


async def failed_task(stack: Stack, **fields: Any) -> str:
    stack.publisher.fail_next(InvalidError("the platform says no"))
    task_id = await stack.publish(**fields)
    await stack.wait_until_ended(task_id)
    return task_id


async def test_a_task_is_shown_with_its_attempts_and_retries(everpost: Stack) -> None:
    task_id = await failed_task(everpost, title="one")
    new_id = (await everpost.post_retry(task_id)).json()["new_task_id"]
    await everpost.wait_until_ended(new_id)
    task = await everpost.task(task_id)
    assert (task["status"], task["error_class"], task["error_message"]) == ("failed", "invalid", "the platform says no")
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["failed"]
    assert [(retry["task_id"], retry["status"]) for retry in task["retries"]] == [(new_id, "success")]
    new_task = await everpost.task(new_id)
    assert (new_task["retry_of"], new_task["publish_url"]) == (task_id, f"https://example.test/{new_id}")
    alias = await everpost.client.get(f"{API}/status/{new_id}")
    assert alias.json()["data"] == new_task


async def test_a_retry_answers_as_the_original_does(everpost: Stack) -> None:
    task_id = await failed_task(everpost)
    answer = (await everpost.post_retry(task_id)).json()
    await everpost.wait_until_ended(answer["new_task_id"])
    assert answer == {
        "success": True,
        "message": "Task resubmitted to arq from Redis",
        "new_task_id": answer["new_task_id"],
        "original_task_id": task_id,
        "source": "redis",
    }
    refused = assert_problem(await everpost.post_retry(task_id), 409, "task_succeeded")
    assert refused["task_id"] == answer["new_task_id"]
    await everpost.flush_redis()
    forced = (await everpost.post_retry(task_id, force=True)).json()
    assert (forced["message"], forced["source"]) == ("Task resubmitted to arq from SQLite history", "sqlite")


async def test_waiting_answers_when_the_task_ends(everpost: Stack) -> None:
    everpost.publisher.hold()
    task_id = await everpost.publish()
    await wait_for_attempt(everpost)
    waiting = asyncio.create_task(everpost.client.get(f"{API}/{task_id}?wait=15"))
    shown = await everpost.client.get(f"{API}/{task_id}")
    assert shown.json()["data"]["status"] == "running"
    assert not waiting.done()
    everpost.publisher.release()
    answer = await asyncio.wait_for(waiting, 10)
    assert answer.json()["data"]["status"] == "success"


async def test_a_long_poll_that_times_out_answers_the_present_state(everpost: Stack) -> None:
    task_id = await everpost.publish(schedule_time="2031-01-01")
    began = time.monotonic()
    answer = await everpost.client.get(f"{API}/{task_id}?wait=0.2")
    assert answer.json()["data"]["status"] == "scheduled"
    assert answer.json()["queue_position"] == 0
    assert time.monotonic() - began >= 0.2
    assert everpost.app.state.services.waiter._waiters == {}


async def test_a_hundred_may_wait_at_once(everpost: Stack) -> None:
    everpost.publisher.hold()
    ids = [await everpost.publish() for _ in range(20)]
    waits = [asyncio.create_task(everpost.client.get(f"{API}/{task_id}?wait=15")) for task_id in ids * 5]
    await wait_for_attempt(everpost)
    everpost.publisher.release()
    answers = await asyncio.gather(*waits)
    assert {answer.json()["data"]["status"] for answer in answers} == {"success"}


async def test_pages_show_every_task_once_newest_first(everpost: Stack) -> None:
    ids = [await everpost.publish(title=str(n)) for n in range(25)]
    await everpost.drain()
    seen, cursor = [], None
    while True:
        parameters = {"limit": 10, **({"cursor": cursor} if cursor else {})}
        page = (await everpost.client.get(API, params=parameters)).json()
        seen += [task["task_id"] for task in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(ids, reverse=True)  # tasks of one millisecond have the order of their ids
    assert (page["total"], page["total_is_exact"]) == (25, True)
    assert page["summary"] == dict.fromkeys(page["summary"], 0) | {"success": 25, "total": 25}
    assert page["stats"]["by_platform"] == {"xiaohongshu": 25}


async def test_a_list_shows_tasks_that_match_all_filters(everpost: Stack) -> None:
    failed = await failed_task(everpost, platform=3, account_id="shop", title="春节促销")
    other = await everpost.publish(platform="douyin", account_id="shop")
    await everpost.drain()

    async def found(**filters: str) -> list[str]:
        answer = (await everpost.client.get(f"{API}/list", params=filters)).json()
        return [task["task_id"] for task in answer["data"]]

    assert await found(platform="3") == await found(platform="抖音") == [other, failed]
    assert await found(account_id="shop", status="failed") == [failed]
    assert await found(error_class="invalid") == [failed]
    assert await found(q="春节") == [failed]
    assert await found(created_after="2020-01-01", status="success") == [other]
    assert await found(created_before="2020-01-01") == []
    recent = (await everpost.client.get(f"{API}/logs/recent?limit=2")).json()["data"]
    assert [task["task_id"] for task in recent] == [other, failed]


async def test_a_waiting_task_is_cancelled_for_good(everpost: Stack) -> None:
    task_id = await everpost.publish(schedule_time="2031-01-01")
    answer = (await everpost.client.post(f"{API}/cancel/{task_id}")).json()
    assert answer == {"success": True, "message": "Task cancelled", "task_id": task_id, "status": "cancelled"}
    assert (await everpost.task(task_id))["status"] == "cancelled"
    assert_problem(await everpost.client.post(f"{API}/cancel/{task_id}"), 409, "task_ended")
    assert_problem(await everpost.client.post(f"{API}/cancel/nobody"), 404, "task_not_found")


async def test_a_running_task_is_stopped_only_by_force(everpost: Stack) -> None:
    everpost.publisher.hold()
    task_id = await everpost.publish()
    await wait_for_attempt(everpost)
    assert_problem(await everpost.client.post(f"{API}/cancel/{task_id}"), 409, "task_running")
    assert_problem(await everpost.post_retry(task_id), 409, "task_running")
    answer = await everpost.client.post(f"{API}/cancel/{task_id}?force=true")
    assert answer.status_code == 202
    assert (await everpost.wait_until_ended(task_id))["status"] in {"cancelled", "unknown"}


async def test_a_deleted_task_is_not_listed_and_can_be_retried(everpost: Stack) -> None:
    task_id = await failed_task(everpost)
    for message in ("Task deleted", "Task was deleted before"):
        answer = await everpost.client.delete(f"{API}/{task_id}")
        assert answer.json() == {"success": True, "message": message, "task_id": task_id}
    assert (await everpost.client.get(API)).json()["data"] == []
    assert (await everpost.task(task_id))["archive_reason"] == "deleted"
    await everpost.flush_redis()
    assert (await everpost.post_retry(task_id)).json()["source"] == "archive"


async def test_an_unfinished_task_is_not_deleted(everpost: Stack) -> None:
    task_id = await everpost.publish(schedule_time="2031-01-01")
    problem = assert_problem(await everpost.client.delete(f"{API}/{task_id}"), 409, "conflict")
    assert problem["task_id"] == task_id
    assert_problem(await everpost.client.delete(f"{API}/nobody"), 404, "task_not_found")


async def test_old_successes_are_archived(everpost: Stack) -> None:
    await everpost.publish()
    await everpost.drain()
    dry = await everpost.client.post(f"{API}/archive", json={"older_than_days": 0, "dry_run": True})
    assert dry.json()["message"] == "1 tasks would be archived"
    nothing = (await everpost.client.post(f"{API}/archive", json={})).json()
    assert (nothing["archived"], nothing["remaining"]) == (0, 0)
    done = (await everpost.client.post(f"{API}/archive", json={"older_than_days": 0})).json()
    assert (done["archived"], done["remaining"], done["dry_run"]) == (1, 0, False)


async def test_an_archive_request_that_does_not_fit_is_refused(everpost: Stack) -> None:
    for body, path in (({"older_than_days": -1}, "$.older_than_days"), ({"days": 1}, "$"), ([], "$")):
        assert_problem(await everpost.client.post(f"{API}/archive", json=body), 422, "invalid_value", path)


async def test_the_beginning_of_an_id_is_completed_from_every_table(everpost: Stack) -> None:
    for name in ("aa-1", "aa-2", "aa-22", "ab-1"):
        row = {"task_id": name, "status": "failed", "title": "t", "created_at": "2026-01-01 08:00"}
        kit_of(everpost.settings).add(Place.HISTORY, row)
    assert (await everpost.client.delete("/api/v1/tasks/aa-1")).status_code == 200

    async def completed(prefix: str, limit: int = 10) -> tuple[list[str], bool]:
        answer = await everpost.client.get("/api/v1/tasks/ids", params={"prefix": prefix, "limit": limit})
        assert answer.status_code == 200, answer.text
        return [row["task_id"] for row in answer.json()["data"]], answer.json()["more"]

    assert await completed("a") == (["ab-1", "aa-22", "aa-2", "aa-1"], False)
    assert await completed("aa-2") == (["aa-2", "aa-22"], False)  # the id itself first
    assert await completed("aa", limit=2) == (["aa-22", "aa-2"], True)
    assert await completed("b") == ([], False)
    assert await completed("aa-_") == await completed("a%") == ([], False)
    waiting = await everpost.publish(schedule_time="2035-01-01T00:00:00Z")
    assert await completed(waiting[:20]) == ([waiting], False)
    answer = await everpost.client.get("/api/v1/tasks/ids", params={"prefix": "aa-1"})
    assert answer.json()["data"][0] == {
        "task_id": "aa-1",
        "place": "publish_tasks_archive",
        "status": "failed",
        "title": "t",
        "created_at": "2026-01-01T08:00:00.000Z",
    }


async def test_answers_name_the_place_of_a_task_by_its_table(everpost: Stack) -> None:
    task_id = await everpost.publish()
    await everpost.drain()
    retry_id = await everpost.retry(task_id, force=True)
    await everpost.drain()
    waiting_id = await everpost.publish(schedule_time="2035-01-01T00:00:00Z")

    async def places(path: str) -> dict[str, str]:
        data = (await everpost.client.get(f"{API}{path}")).json()["data"]
        return {task["task_id"]: task["place"] for task in (data if isinstance(data, list) else [data])}

    listed = {task_id: "publish_tasks", retry_id: "publish_tasks", waiting_id: "task_queue"}
    assert await places("") == await places("/ids?prefix=0") == listed
    assert await places("/logs/recent") == {task_id: "publish_tasks", retry_id: "publish_tasks"}
    assert await places(f"/{waiting_id}") == {waiting_id: "task_queue"}
    await everpost.client.delete(f"{API}/{retry_id}")
    assert await places(f"/{retry_id}") == {retry_id: "publish_tasks_archive"}
    (retry,) = (await everpost.task(task_id))["retries"]
    assert (retry["task_id"], retry["place"]) == (retry_id, "publish_tasks_archive")


async def test_an_id_without_a_beginning_is_refused(everpost: Stack) -> None:
    for query in ("", "prefix=", f"prefix={'a' * 129}", "prefix=a&limit=0", "prefix=a&limit=101"):
        assert_problem(await everpost.client.get(f"/api/v1/tasks/ids?{query}"), 422, "invalid_value")
