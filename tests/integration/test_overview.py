"""What an operator looks at first, over HTTP: failures by cause, what ended when, what is due, batches, bulk work."""

from typing import Any

import pytest

from api_support import assert_problem
from everpost.actions.bulk.request import BulkKind, BulkRequest, read_request, write_request
from everpost.clock import DAY_MS, system_clock, to_text
from everpost.publishing import AuthError, InvalidError, PublishJob
from everpost.store.history import TaskFilter
from everpost.task.place import Place
from everpost.testing import Stack, eventually

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")


async def get(stack: Stack, path: str, **parameters: Any) -> Any:
    answer = await stack.client.get(f"/api/v1{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refuse(job: PublishJob) -> Exception | None:
    title = str(job.data["title"])
    if title.startswith("auth"):
        return AuthError(f"Session {title} expired after 17 days")
    return InvalidError("Too long") if title.startswith("long") else None


async def fail(stack: Stack, *titles: str, **fields: Any) -> list[str]:
    stack.publisher.fail_when(refuse)
    ids = [await stack.publish(title=title, **fields) for title in titles]
    await stack.drain()
    stack.publisher.fail_when(lambda _: None)
    return ids


async def test_a_group_of_failures_is_found_previewed_and_retried(everpost: Stack) -> None:
    ids = await fail(everpost, "auth 1", "auth 2", "auth 3")
    await fail(everpost, "auth 4", account_id="another")
    await fail(everpost, "long")
    answer = await get(everpost, "/failures", since="1h")
    assert (answer["success"], answer["total"], answer["groups"], answer["slice_s"]) == (True, 5, 3, 300)
    group = answer["data"][0]
    assert (group["text"], group["count"], group["error_class"]) == ("Session auth N expired after N days", 3, "auth")
    assert group["sample"] in ids
    assert sum(group["trend"]) == 3
    wanted = {name: group[name] for name in ("cause", "platform", "account_id")}
    listed = await get(everpost, "/tasks", **wanted)
    assert ({task["task_id"] for task in listed["data"]}, listed["total"]) == (set(ids), 3)
    body = {"filter": wanted, "dry_run": True}
    preview = (await everpost.client.post("/api/v1/tasks/batch/retry", json=body)).json()
    assert preview["message"] == "3 of 3 tasks would be retried"
    done = (await everpost.client.post("/api/v1/tasks/batch/retry", json={"filter": wanted})).json()
    assert list(done["retries"]) == sorted(ids, reverse=True)
    await everpost.drain()
    assert (await get(everpost, "/failures"))["total"] == 5


async def test_removed_failures_do_not_count(everpost: Stack) -> None:
    ids = await fail(everpost, "auth 1", "auth 2")
    await everpost.client.delete(f"/api/v1/tasks/{ids[0]}")
    assert (await get(everpost, "/failures"))["total"] == 1


@pytest.mark.parametrize("since", ["yesterday", "0h", "500d", "1w"])
async def test_a_malformed_window_is_refused(everpost: Stack, since: str) -> None:
    answer = await everpost.client.get("/api/v1/failures", params={"since": since})
    assert_problem(answer, 422, "invalid_value", "?since")


async def test_a_malformed_cause_is_refused(everpost: Stack) -> None:
    assert (await everpost.client.get("/api/v1/tasks", params={"cause": "nonsense"})).status_code == 422


async def test_ended_tasks_appear_in_the_timeline(everpost: Stack) -> None:
    await get(everpost, "/tasks/timeline")
    await fail(everpost, "long", "fine")

    async def ends() -> dict[str, int]:
        found: dict[str, int] = (await get(everpost, "/tasks/timeline", span="hour"))["whole"]["ends"]
        return found

    async def is_counted() -> bool:
        await fail(everpost, "another")  # the first look of a worker ever only remembers the sums
        return bool(await ends())

    await eventually(is_counted, timeout_s=30)
    whole = (await get(everpost, "/tasks/timeline", span="day"))["whole"]
    assert whole["publish"]["count"] > 0
    assert whole["wait"]["p99_s"] >= whole["wait"]["p50_s"] > 0


async def test_the_schedule_has_tasks_and_occurrences_by_day(everpost: Stack) -> None:
    now_ms = system_clock()
    tomorrow = to_text(now_ms + DAY_MS)
    task_id = await everpost.publish(title="later", schedule_time=tomorrow)
    body = {
        "name": "daily", "cron": "0 12 * * *", "timezone": "UTC",
        "data": {"platform": 1, "account_id": "a", "title": "daily"},
    }  # fmt: skip
    assert (await everpost.client.post("/api/v1/recurring", json=body)).status_code == 201
    answer = await get(everpost, "/schedule")
    assert [task["task_id"] for task in answer["tasks"]] == [task_id]
    days = {day["date"]: day for day in answer["days"]}
    assert len(days) == 14
    assert (days[tomorrow[:10]]["tasks"], days[tomorrow[:10]]["occurrences"]) == (1, 1)
    assert sum(day["occurrences"] for day in days.values()) == len(answer["upcoming"]) in {13, 14}
    (one_day,) = (await get(everpost, "/schedule", first=tomorrow[:10], last=tomorrow[:10]))["days"]
    assert one_day["tasks"] == 1
    for wrong in ({"first": "x"}, {"first": "2030-01-01", "last": "2029-01-01"}, {"last": "2099-01-01"}):
        assert (await everpost.client.get("/api/v1/schedule", params=wrong)).status_code == 422


async def test_batches_and_bulk_work_are_listed_page_by_page(everpost: Stack) -> None:
    batches = []
    for number in range(3):
        posted = await everpost.client.post(
            "/api/v1/publish/batch", json=[{"platform": 1, "account_id": "a", "title": f"one {number}"}]
        )
        batches.append(posted.json()["batch_id"])
    await everpost.drain()
    first = await get(everpost, "/batches", limit=2)
    rest = await get(everpost, "/batches", limit=2, before=first["next_before"])
    assert [one["batch_id"] for one in first["data"] + rest["data"]] == batches[::-1]
    assert (first["data"][0]["counts"], rest["next_before"]) == ({"success": 1}, None)
    ids = await fail(everpost, "long 1", "long 2")
    for task_id in ids:
        await everpost.client.post("/api/v1/tasks/batch/retry", json={"task_ids": [task_id]})
    listed = await get(everpost, "/operations", limit=1)
    assert (len(listed["data"]), listed["data"][0]["kind"], listed["data"][0]["succeeded"]) == (1, "retry", 1)
    assert len((await get(everpost, "/operations", before=listed["next_before"]))["data"]) == 1


def test_an_earlier_version_cannot_read_bulk_work_with_a_cause() -> None:
    """It would leave the cause out, and change more tasks."""
    request = BulkRequest(kind=BulkKind.RETRY, filter=TaskFilter(cause="0123456789ab")).fixed(1)
    written = write_request(request)
    assert '"place":"failures"' in written.replace(" ", "")
    read = read_request(written)
    assert read.filter is not None
    assert (read.filter.cause, read.filter.place) == ("0123456789ab", Place.HISTORY)


async def test_a_bulk_removal_is_undone(everpost: Stack) -> None:
    ids = await fail(everpost, "long 1", "long 2", "long 3")
    removed = await everpost.client.post("/api/v1/tasks/batch/delete", json={"task_ids": ids[:2]})
    operation_id = removed.json()["operation_id"]
    await everpost.client.delete(f"/api/v1/tasks/{ids[2]}")
    undone = await everpost.client.post(f"/api/v1/operations/{operation_id}/undo")
    assert (undone.status_code, undone.json()["brought_back"], undone.json()["is_whole"]) == (200, 2, True)
    listed = await get(everpost, "/tasks", status="failed")
    assert {task["task_id"] for task in listed["data"]} == set(ids[:2])
    assert (await everpost.client.post(f"/api/v1/tasks/{ids[2]}/bring-back")).status_code == 200
    assert_problem(await everpost.client.post(f"/api/v1/tasks/{ids[2]}/bring-back"), 409, "conflict")
    assert_problem(await everpost.client.post("/api/v1/tasks/nobody/bring-back"), 404, "task_not_found")
    assert_problem(await everpost.client.post("/api/v1/operations/nobody/undo"), 404, "operation_not_found")
    retried = await everpost.client.post("/api/v1/tasks/batch/retry", json={"task_ids": ids})
    not_that = await everpost.client.post(f"/api/v1/operations/{retried.json()['operation_id']}/undo")
    assert_problem(not_that, 409, "conflict")
    actions = [entry["action"] for entry in (await get(everpost, "/audit"))["data"]]
    assert {"undo_operation", "bring_task_back"} <= set(actions)
