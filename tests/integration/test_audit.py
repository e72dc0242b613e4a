"""The audit over HTTP and by commands: every change has its entry, and nothing else has."""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from litestar.routes import HTTPRoute

from api_support import PUBLISH, TASK, Api, assert_problem, running_valkey, serving
from cli_support import Up
from cli_support import serving as serving_up
from everpost.access import Right, Role
from everpost.api.http.rights import NEEDS
from everpost.app import create_app
from everpost.embedded import EmbeddedValkey
from everpost.settings import temporary_settings
from integration.test_keys import KEYS, TOKEN, client, make

AUDIT = "/api/v1/audit"
ONLY_SUBMITS = {
    "publish_task", "publish_batch", "publish_fanout", "upload_file", "continue_upload",
    "export_audit", "list_audit", "list_keys", "show_page",
}  # fmt: skip
"""What these do is kept with the tasks and files, or is nothing; all other routes that change something are audited."""


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    async with running_valkey(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def api(tmp_path: Path, valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    async with serving(tmp_path, valkey, token=TOKEN) as served:
        yield served


async def entries(api: Api, **wanted: Any) -> list[dict[str, Any]]:
    answer = await api.client.get(AUDIT, params=wanted)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_every_route_that_changes_something_is_audited(tmp_path: Path) -> None:
    app = create_app(temporary_settings(tmp_path, redis="redis://127.0.0.1:1/0"))
    handlers = [handler for route in app.routes if isinstance(route, HTTPRoute) for handler in route.route_handlers]
    changing = {one for one in handlers if one.opt.get(NEEDS, Right.READ) is not Right.READ}
    audited = {one.handler_name for one in changing if getattr(one.fn, "is_audited", False)}
    assert {one.handler_name for one in changing} - audited == ONLY_SUBMITS


async def test_a_change_says_who_what_how_where_and_why(api: Api) -> None:
    task_id = await api.publish(schedule_time="2030-01-01T00:00:00Z")
    async with client(api, await make(api, "mei", Role.OPERATOR)) as mei:
        edited = await mei.patch(f"/api/v1/tasks/{task_id}?by=li&why=a+typo", json={"title": "x", "secret": "y"})
        assert edited.status_code == 200, edited.text
        who = (await mei.get("/api/v1/whoami")).json()
    (entry,) = await entries(api, target=task_id)
    key_id = (await api.client.get(KEYS)).json()["data"][0]["key_id"]
    assert entry | {"audit_id": "", "at": ""} == {
        "audit_id": "", "at": "", "who": "mei", "role": "operator", "key_id": key_id, "action": "edit_task",
        "how": "api", "address": "127.0.0.1", "target": task_id, "why": "a typo",
        "details": {"said_by": "li", "members": ["secret", "title"]}, "outcome": "ok",
    }  # fmt: skip
    assert who["name"] == "mei"
    (edit,) = (await api.client.get(f"/api/v1/tasks/{task_id}")).json()["data"]["edits"]
    assert (edit["edited_by"], edit["why"]) == ("mei", "a typo")


async def test_what_a_proxy_says_of_the_way_is_kept(api: Api) -> None:
    way = {"x-forwarded-for": "203.0.113.7, 10.0.0.1"}
    await api.client.post("/api/v1/limits/pause", json={"platform": "douyin", "reason": "x"}, headers=way)
    (entry,) = await entries(api)
    assert (entry["address"], entry["details"]["forwarded_for"]) == ("127.0.0.1", way["x-forwarded-for"])


async def test_a_retry_names_the_new_task_and_a_repeated_one_is_no_change(api: Api) -> None:
    task_id = await api.publish(schedule_time="2030-01-01T00:00:00Z")
    assert (await api.client.post(f"/api/v1/tasks/cancel/{task_id}")).status_code == 200
    made = [(await api.client.post(f"/api/v1/tasks/retry/{task_id}")).json()["new_task_id"] for _ in range(3)]
    assert len(set(made)) == 1
    retried, cancelled = await entries(api, target=task_id)
    assert (retried["action"], retried["details"]) == ("retry_task", {"new_task_id": made[0]})
    assert (cancelled["action"], cancelled["who"]) == ("cancel_task", "token")


async def test_work_on_many_tasks_is_one_entry_that_names_them(api: Api) -> None:
    ids = [await api.publish(schedule_time="2030-01-01T00:00:00Z") for _ in range(3)]
    body = {"task_ids": ids, "filter": {"platform": 1}}
    await api.client.post("/api/v1/tasks/batch/cancel", json={**body, "dry_run": True})
    answer = (await api.client.post("/api/v1/tasks/batch/cancel", json=body)).json()
    (entry,) = await entries(api, action="cancel_tasks")
    assert entry["target"] == answer["operation_id"]
    assert (entry["details"]["task_ids"], entry["details"]["tasks"]) == (ids, 3)


async def test_what_changes_nothing_has_no_entry(api: Api) -> None:
    task_id = await api.publish(schedule_time="2030-01-01T00:00:00Z")
    await api.client.get(f"/api/v1/tasks/{task_id}")
    await api.client.patch(f"/api/v1/tasks/{task_id}?dry_run=true", json={"title": "x"})
    await api.client.post("/api/v1/tasks/archive", json={"dry_run": True})
    await api.client.post("/api/v1/dispatch/resume")
    assert_problem(await api.client.delete(f"/api/v1/tasks/{task_id}"), 409, "conflict")
    assert_problem(await api.client.post("/api/v1/tasks/retry/none"), 404, "task_not_found")
    assert_problem(await api.client.post("/api/v1/tasks/batch/cancel", json={}), 422, "invalid_value")
    assert await entries(api) == []


async def test_a_refused_attempt_is_kept_at_most_once_a_minute(api: Api) -> None:
    async with client(api, await make(api, "reader", Role.VIEWER)) as reader:
        for _ in range(3):
            assert_problem(await reader.post(PUBLISH, json=TASK), 403, "forbidden")
            assert_problem(await reader.delete("/api/v1/tasks/some"), 403, "forbidden")
    found = await entries(api, who="reader")
    assert {(entry["action"], entry["outcome"]) for entry in found} == {
        ("publish_task", "forbidden"), ("delete_task", "forbidden"),
    }  # fmt: skip
    assert len(found) == 2


async def test_keys_accounts_limits_and_recurring_posts_have_entries_without_their_secrets(api: Api) -> None:
    key = await make(api, "shop", Role.PUBLISHER, platforms=["douyin"])
    account = {"platform": "douyin", "account_id": "a", "credentials": {"token": "env:EVERPOST_ACCOUNT_A"}}
    assert (await api.client.post("/api/v1/accounts", json=account)).status_code == 201
    await api.client.post("/api/v1/accounts/douyin/a/pause", json={"reason": "later"})
    await api.client.put("/api/v1/limits", json={"platform": "douyin", "limits": {"daily": 5}})
    await api.client.post("/api/v1/limits/pause", json={"platform": "douyin", "reason": "down", "by": "mei"})
    await api.client.post("/api/v1/recurring", json={"name": "n", "cron": "0 9 * * *", "data": TASK})
    await api.client.delete(f"{KEYS}/shop")
    found = await entries(api)
    assert [entry["action"] for entry in reversed(found)] == [
        "create_key", "add_account", "pause_account", "set_limits", "pause_scope", "add_recurring", "revoke_key",
    ]  # fmt: skip
    by_action = {entry["action"]: entry for entry in found}
    assert by_action["create_key"]["details"]["scope"] == {"platforms": ["douyin"]}
    assert (by_action["pause_account"]["target"], by_action["pause_account"]["why"]) == ("douyin/a", "later")
    assert (by_action["pause_scope"]["target"], by_action["pause_scope"]["details"]) == ("douyin", {"said_by": "mei"})
    assert by_action["set_limits"]["details"]["limits"]["daily"] == 5
    text = json.dumps(found)
    assert key not in text
    assert "EVERPOST_ACCOUNT_A" not in text


async def test_a_decision_has_the_name_of_its_caller_and_not_the_one_in_its_body(api: Api, tmp_path: Path) -> None:
    body = {"platform": "douyin", "reason": "down", "by": "li"}
    async with client(api, await make(api, "mei", Role.OPERATOR)) as mei:
        hold = (await mei.post("/api/v1/limits/pause", json=body)).json()["data"]["hold"]
    assert hold["by"] == "mei"
    async with serving(tmp_path / "open", None) as open_api:
        hold = (await open_api.client.post("/api/v1/limits/pause", json=body)).json()["data"]["hold"]
    assert hold["by"] == "li"


async def test_the_audit_is_paged_and_found_by_time(api: Api) -> None:
    for number in range(5):
        await api.client.put("/api/v1/limits", json={"platform": "douyin", "limits": {"daily": number + 1}})
    seen: list[str] = []
    cursor = None
    while True:
        page = (await api.client.get(AUDIT, params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [entry["audit_id"] for entry in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    assert len(await entries(api, after="2020-01-01")) == 5
    assert await entries(api, before="2020-01-01") == []
    refused = await api.client.get(AUDIT, params={"after": "yesterday"})
    assert_problem(refused, 422, "invalid_value", "?after")


async def test_the_audit_is_exported_whole_and_goes_on_behind_any_entry(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everpost.views.audit_views.STEP", 2)
    for number in range(5):
        body = {"platform": "douyin", "reason": f"=formula{number}"}
        await api.client.post("/api/v1/limits/pause", json=body)
    lines = (await api.client.get(f"{AUDIT}/export")).text.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [{**row, "cursor": ""} for row in rows] == [{**entry, "cursor": ""} for entry in await entries(api)]
    rest = await api.client.get(f"{AUDIT}/export", params={"cursor": rows[1]["cursor"]})
    assert rest.text.splitlines() == lines[2:]
    table = await api.client.get(f"{AUDIT}/export", params={"format": "csv", "action": "pause_scope"})
    head, *records = csv.reader(io.StringIO(table.content.decode("utf-8-sig"), newline=""))
    assert [record[head.index("why")] for record in records] == [f"'=formula{number}" for number in (4, 3, 2, 1, 0)]
    assert (await api.client.get(f"{AUDIT}/export", params={"who": "nobody"})).text == ""


async def test_a_change_of_the_console_is_of_the_console(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.address, headers={"sec-fetch-site": "same-origin"}) as browser:
        await browser.post("/login", data={"key": TOKEN})
        await browser.post("/api/v1/limits/pause", json={"platform": "douyin", "reason": "down"})
    entry, begun = await entries(api)
    assert (entry["action"], entry["how"], entry["who"]) == ("pause_scope", "console", "token")
    assert (begun["action"], begun["who"]) == ("log_in", "token")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with serving_up(tmp_path) as up:
        yield up


def test_changes_by_commands_are_audited_and_shown_by_a_command(up: Up) -> None:
    up.everpost("limits", "pause", "--platform", "douyin", "--reason", "down", "--by", "mei")
    up.everpost("archive", "--older-than-days", "1")
    shown = up.everpost("audit")
    assert shown.returncode == 0, shown.stderr
    assert "pause_scope" in shown.stdout
    assert "command archive" in shown.stdout
    found = json.loads(up.everpost("audit", "--how", "command", "--json").stdout)["data"]
    assert {entry["action"] for entry in found} == {"pause_scope", "command archive"}
    assert [entry["who"] for entry in found if entry["action"] == "pause_scope"] == ["anonymous"]


def test_the_life_of_a_key_by_commands(up: Up) -> None:
    key = up.everpost("keys", "create", "ops", "--role", "admin").stdout.strip()
    assert key.startswith("evp_")
    refused = up.everpost("keys", "list")
    assert refused.returncode == 1
    assert "EVERPOST_KEY" in refused.stderr
