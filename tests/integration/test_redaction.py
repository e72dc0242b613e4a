"""Hidden members of tasks: no answer, list, log or search shows them; publishers and the store have them."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from api_support import assert_problem
from everpost.publishing import InvalidError
from everpost.testing import Stack, eventually
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

SECRET = "kM9-raw-value-of-a-token"
HIDDEN = {"access_token": SECRET, "login": {"user": "u", "PassWord": SECRET}, "list": [{"cookie": SECRET}]}
SHOWN = {"access_token": "***", "login": {"user": "u", "PassWord": "***"}, "list": [{"cookie": "***"}]}


async def failed(everpost: Stack, **fields: Any) -> str:
    everpost.publisher.fail_next(InvalidError(f"the platform refused {SECRET} of this task"))
    task_id = await everpost.publish(**HIDDEN, **fields)
    await everpost.wait_until_ended(task_id)
    return task_id


async def test_no_answer_has_the_value_and_publishers_and_retries_do(everpost: Stack) -> None:
    task_id = await failed(everpost, title="one")
    task = await everpost.task(task_id)
    assert {name: task["task_data"][name] for name in SHOWN} == SHOWN
    assert task["error_message"] == "the platform refused *** of this task"
    retried = await everpost.retry(task_id)
    await everpost.wait_until_ended(retried)
    for path in (f"tasks/{task_id}", f"tasks/{retried}", "tasks", "tasks/logs/recent", f"tasks/ids?prefix={task_id}"):
        assert SECRET not in (await everpost.client.get(f"/api/v1/{path}")).text
    assert [job.data["access_token"] for job in everpost.publisher.attempts] == [SECRET, SECRET]
    assert all(stored.data["login"]["PassWord"] == SECRET for stored in kit_of(everpost.settings).tasks())


async def test_no_search_finds_the_value_before_and_after_it_is_indexed(everpost: Stack) -> None:
    task_id = await failed(everpost, title="findable")

    async def found(words: str) -> int:
        return int((await everpost.client.get("/api/v1/tasks", params={"q": words})).json()["total"])

    assert (await found("findable"), await found(SECRET), await found("kM9")) == (1, 0, 0)

    async def is_indexed() -> bool:
        return await everpost.store.care.fill_search() == 0

    await eventually(is_indexed)
    assert (await found("findable"), await found(SECRET), await found("kM9")) == (1, 0, 0)
    assert (await everpost.task(task_id))["status"] == "failed"


async def test_an_edit_that_sends_a_value_back_as_it_was_shown_leaves_it_as_it_is(everpost: Stack) -> None:
    task_id = await everpost.publish(**HIDDEN, schedule_time="2035-01-01T00:00:00Z")
    patch = {"title": "edited", "access_token": "***", "login": {"PassWord": "***", "user": "other"}}
    answer = await everpost.client.patch(f"/api/v1/tasks/{task_id}", json=patch)
    assert answer.status_code == 200, answer.text
    (stored,) = kit_of(everpost.settings).tasks()
    assert (stored.data["title"], stored.data["access_token"]) == ("edited", SECRET)
    assert stored.data["login"] == {"user": "other", "PassWord": SECRET}
    refused = await everpost.client.patch(f"/api/v1/tasks/{task_id}", json={"list": [{"cookie": "***"}]})
    assert_problem(refused, 422, "invalid_value")


async def test_the_former_value_of_an_edit_is_not_shown(everpost: Stack) -> None:
    task_id = await everpost.publish(**HIDDEN, schedule_time="2035-01-01T00:00:00Z")
    await everpost.client.patch(f"/api/v1/tasks/{task_id}", json={"access_token": "another-secret-value"})
    answer = await everpost.client.get(f"/api/v1/tasks/{task_id}")
    (edit,) = answer.json()["data"]["edits"]
    assert (edit["patch"], edit["before"]) == ({"access_token": "***"}, {"access_token": "***"})
    assert SECRET not in answer.text
    assert "another-secret-value" not in answer.text


async def test_recurring_posts_are_shown_without_it(everpost: Stack) -> None:
    data = {"platform": 1, "account_id": "a", **HIDDEN}
    body = {"name": "daily", "cron": "0 9 * * *", "data": data}
    added = await everpost.client.post("/api/v1/recurring", json=body)
    assert added.status_code == 201, added.text
    listed = await everpost.client.get("/api/v1/recurring")
    assert {name: listed.json()["data"][0]["data"][name] for name in SHOWN} == SHOWN
    assert SECRET not in added.text + listed.text


async def test_no_log_line_of_an_attempt_has_the_value(everpost: Stack) -> None:
    with capture_logs() as lines:
        await failed(everpost)
    assert lines
    assert SECRET not in str(lines)


class TestWithAListOfItsOwn:
    @pytest.fixture
    def everpost_settings(self) -> dict[str, Any]:
        return {"redact": "customer.*, !*token, title"}

    async def test_the_list_of_the_setting_counts(self, everpost: Stack) -> None:
        task_id = await everpost.publish(title="a name", customer={"email": "e@example.org"}, page_token="shown")
        task = await everpost.wait_until_ended(task_id)
        assert task["task_data"]["customer"] == {"email": "***"}
        assert (task["title"], task["task_data"]["title"], task["task_data"]["page_token"]) == ("***", "***", "shown")
        (row,) = (await everpost.client.get("/api/v1/tasks")).json()["data"]
        assert row["title"] == "***"
        assert (await everpost.client.get("/api/v1/tasks", params={"q": "name"})).json()["total"] == 0
        assert everpost.publisher.published[0].data["customer"] == {"email": "e@example.org"}
