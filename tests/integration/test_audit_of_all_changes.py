"""Every route of the API and every form of the console that changes something keeps one entry; so does its refusal."""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from api_support import Api, assert_problem, running_valkey, serving
from everpost.access import Right, Role
from everpost.api.http.rights import NEEDS
from everpost.app import create_app
from everpost.settings import temporary_settings
from everpost.store import Store, open_store
from everpost.store.pause import KEY, Pause, write_pause
from everpost.task.callbacks import SUFFIX
from everpost.task.model import TaskStatus, new_task_id
from integration.test_audit import ONLY_SUBMITS, entries
from integration.test_keys import TOKEN, client, make
from store_rows import START_MS, add_ended, make_task, remove

V1 = "/api/v1"
LATER = "2030-01-01T00:00:00Z"
OWN = {"sec-fetch-site": "same-origin", "accept": "text/html"}
SCOPE = {"platform": "douyin", "account_id": "a"}
DAILY = {**SCOPE, "limits": {"daily": 5}}


class Call(NamedTuple):
    """A request that changes something.

    Attributes:
        path: A word in braces is the id of a new thing, made by `World`.
        body: JSON for the API, a form for the console; its texts have such words, too.
    """

    action: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    outcome: str = "ok"


API = (
    Call("retry_task", "POST", "/tasks/retry/{failed}"),
    Call("cancel_task", "POST", "/tasks/cancel/{scheduled}"),
    Call("edit_task", "PATCH", "/tasks/{scheduled}", {"title": "x"}),
    Call("publish_now", "POST", "/tasks/{scheduled}/publish-now"),
    Call("delete_task", "DELETE", "/tasks/{failed}"),
    Call("bring_task_back", "POST", "/tasks/{removed}/bring-back"),
    Call("resolve_task", "POST", "/tasks/{unknown}/resolve", {"decision": "succeeded", "why": "seen"}),
    Call("look_task_up", "POST", "/tasks/{unknown}/look-up"),
    Call("retry_tasks", "POST", "/tasks/batch/retry", {"task_ids": ["{failed}"]}),
    Call("cancel_tasks", "POST", "/tasks/batch/cancel", {"task_ids": ["{scheduled}"]}),
    Call("delete_tasks", "POST", "/tasks/batch/delete", {"task_ids": ["{failed}"]}),
    Call("edit_tasks", "POST", "/tasks/batch/edit", {"task_ids": ["{scheduled}"], "data": {"title": "x"}}),
    Call(
        "resolve_tasks",
        "POST",
        "/tasks/batch/resolve",
        {"task_ids": ["{unknown}"], "decision": "succeeded", "why": "seen"},
    ),
    Call("publish_tasks_now", "POST", "/tasks/batch/publish-now", {"task_ids": ["{scheduled}"]}),
    Call("clear_tasks", "POST", "/tasks/clear/failed"),
    Call("archive_tasks", "POST", "/tasks/archive", {}),
    Call("undo_operation", "POST", "/operations/{operation}/undo"),
    Call("retry_fanout", "POST", "/publish/fanout/{fanout}/retry"),
    Call("cancel_fanout", "POST", "/publish/fanout/{fanout}/cancel"),
    Call("redeliver_callback", "POST", "/callbacks/{callback}/redeliver"),
    Call("delete_file", "DELETE", "/files/{file}"),
    Call("set_limits", "PUT", "/limits", DAILY),
    Call("pause_scope", "POST", "/limits/pause", {**SCOPE, "reason": "x"}),
    Call("resume_scope", "POST", "/limits/resume", SCOPE),
    Call("add_account", "POST", "/accounts", {"platform": "douyin", "account_id": "new"}),
    Call("change_account", "PATCH", "/accounts/douyin/{account}", {"title": "x"}),
    Call("pause_account", "POST", "/accounts/douyin/{account}/pause"),
    Call("resume_account", "POST", "/accounts/douyin/{account}/resume"),
    Call("test_account", "POST", "/accounts/douyin/{account}/test", None, "account_not_tested"),
    Call("remove_account", "DELETE", "/accounts/douyin/{account}"),
    Call("add_recurring", "POST", "/recurring", {"name": "new", "cron": "0 9 * * *", "data": SCOPE}),
    Call("edit_recurring", "PATCH", "/recurring/{recurring}", {"cron": "0 8 * * *"}),
    Call("pause_recurring", "POST", "/recurring/{recurring}/pause"),
    Call("resume_recurring", "POST", "/recurring/{recurring}/resume"),
    Call("remove_recurring", "DELETE", "/recurring/{recurring}"),
    Call("create_key", "POST", "/keys", {"name": "new", "role": "viewer"}),
    Call("rotate_key", "POST", "/keys/{key}/rotate"),
    Call("revoke_key", "DELETE", "/keys/{key}"),
    Call("resume_dispatch", "POST", "/dispatch/resume{paused}"),
)
FORMS = (
    Call("retry_task", "POST", "/tasks/{failed}/retry", {}),
    Call("cancel_task", "POST", "/tasks/{scheduled}/cancel", {}),
    Call("edit_task", "POST", "/tasks/{scheduled}/edit", {"title": "x", "account_id": "a", "rest": '{"platform": 1}'}),
    Call("publish_task_now", "POST", "/tasks/{scheduled}/publish-now", {}),
    Call("remove_task", "POST", "/tasks/{failed}/remove", {}),
    Call("bring_task_back", "POST", "/tasks/{removed}/bring-back", {}),
    Call("resolve_task", "POST", "/tasks/{unknown}/resolve", {"decision": "succeeded", "why": "seen"}),
    Call("look_task_up", "POST", "/tasks/{unknown}/look-up", {}),
    Call("run_bulk", "POST", "/tasks/bulk/run", {"kind": "cancel", "task": "{scheduled}"}),
    Call("undo_operation", "POST", "/operations/{operation}/undo", {}),
    Call("retry_fanout", "POST", "/batches/{fanout}/retry", {}),
    Call("cancel_fanout", "POST", "/batches/{fanout}/cancel", {}),
    Call("add_account", "POST", "/accounts/new", {"platform": "douyin", "account_id": "form"}),
    Call("change_account", "POST", "/accounts/douyin/{account}/change", {"title": "x"}),
    Call("pause_account", "POST", "/accounts/douyin/{account}/pause", {"reason": "x"}),
    Call("resume_account", "POST", "/accounts/douyin/{account}/resume", {}),
    Call("test_account", "POST", "/accounts/douyin/{account}/test", {}, "account_not_tested"),
    Call("remove_account", "POST", "/accounts/douyin/{account}/remove", {"repeat": "{account}"}),
    Call("create_key", "POST", "/keys", {"name": "form", "role": "viewer"}),
    Call("rotate_key", "POST", "/keys/{key}/rotate", {}),
    Call("revoke_key", "POST", "/keys/{key}/revoke", {}),
    Call("set_limits", "POST", "/limits/set", {"scope": "douyin/a", "daily": "5"}),
    Call("pause_scope", "POST", "/limits/pause", {"scope": "douyin/a", "reason": "x"}),
    Call("resume_scope", "POST", "/limits/resume", {"scope": "douyin/a"}),
)


def changing(folder: Path) -> list[tuple[str, HTTPRouteHandler]]:
    """Path and handler of each route that needs more than the right to read, and does not only read."""
    app = create_app(temporary_settings(folder, redis="redis://127.0.0.1:1/0"))
    return [
        (route.path, handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.opt.get(NEEDS, Right.READ) is not Right.READ and handler.http_methods - {"GET", "HEAD", "OPTIONS"}
    ]


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey, token=TOKEN) as served:
        yield served


class World:
    """Makes what calls are about."""

    def __init__(self, api: Api, store: Store) -> None:
        self._api = api
        self._store = store
        self._made = 0

    async def filled(self, call: Call) -> tuple[str, Any]:
        """The path and the body of a call, with the ids of new things in the place of words in braces."""
        text = json.dumps([call.path, call.body])
        for word in set(re.findall(r"\{(\w+)\}", text)):
            self._made += 1
            text = text.replace(f"{{{word}}}", await getattr(self, word)(f"{word}{self._made}"))
        path, body = json.loads(text)
        return path, body

    async def scheduled(self, _: str) -> str:
        return await self._api.publish(schedule_time=LATER)

    async def failed(self, _: str, status: TaskStatus = TaskStatus.FAILED, end: str = "", **fields: str) -> str:
        said = {name: fields.pop(name) for name in ("error_message", "publish_url") if name in fields}
        task = make_task(new_task_id(START_MS) + end, **fields)
        await add_ended(self._store, task, status=status, **said)
        return task.task_id

    async def unknown(self, name: str) -> str:
        return await self.failed(name, TaskStatus.UNKNOWN)

    async def callback(self, name: str) -> str:
        return await self.failed(name, end=f".1{SUFFIX}")

    async def removed(self, name: str) -> str:
        task_id = await self.failed(name)
        assert await remove(self._store, task_id) == {task_id: None}
        return task_id

    async def operation(self, name: str) -> str:
        body = {"task_ids": [await self.failed(name)]}
        return str((await self._post("/tasks/batch/delete", body))["operation_id"])

    async def fanout(self, _: str) -> str:
        accounts = [{**SCOPE, "schedule_time": LATER}]
        return str(
            (await self._post("/publish/fanout", {"content": {"title": "x"}, "accounts": accounts}))["fanout_id"]
        )

    async def file(self, _: str) -> str:
        return str((await self._api.client.post(f"{V1}/files", content=b"x")).json()["file_id"])

    async def account(self, name: str) -> str:
        await self._post("/accounts", {"platform": "douyin", "account_id": name})
        return name

    async def recurring(self, name: str) -> str:
        await self._post("/recurring", {"name": name, "cron": "0 9 * * *", "data": SCOPE})
        return name

    async def key(self, name: str) -> str:
        await self._post("/keys", {"name": name, "role": Role.VIEWER})
        return name

    async def paused(self, _: str) -> str:
        pause = Pause(
            backup="b", restored_at=LATER, newest_at=None, ended=0, sending=0, held=0, scheduled=0, operations=0,
            replaced=None,
        )  # fmt: skip
        await self._store.meta.set(KEY, write_pause(pause))
        return ""

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = await self._api.client.post(V1 + path, json=body)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
async def world(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("everpost.actions.accounts.TEST_S", 0.1)  # no worker answers
    store = await open_store(api.settings.database_address)
    yield World(api, store)
    await store.close()


async def kept_since(api: Api, last: str | None) -> list[dict[str, Any]]:
    found = await entries(api, limit=20)
    return found[: next((place for place, one in enumerate(found) if one["audit_id"] == last), len(found))]


async def check_entries(api: Api, world: World, caller: httpx.AsyncClient, calls: Sequence[Call], how: str) -> None:
    for call in calls:
        path, body = await world.filled(call)
        last = next((one["audit_id"] for one in await entries(api, limit=1)), None)
        form = {"content": urlencode(body or {}), "headers": {"content-type": "application/x-www-form-urlencoded"}}
        answer = await caller.request(call.method, path, **({"json": body} if how == "api" else form))
        assert answer.is_error is (call.outcome != "ok"), (call, answer.text)
        found = await kept_since(api, last)
        kept = [(one["action"], one["how"], one["who"], one["outcome"]) for one in found]
        assert kept == [(call.action, how, "token", call.outcome)], call
        assert (found[0]["target"] is None) is (call.action == "resume_dispatch"), call


def test_the_tables_have_every_route_and_every_form_that_changes_something(tmp_path: Path) -> None:
    found = {(path.startswith(V1), one.handler_name) for path, one in changing(tmp_path)}
    named = {(is_api, call.action) for is_api, calls in ((True, API), (False, FORMS)) for call in calls}
    assert {one for one in found if one[1] not in {*ONLY_SUBMITS, "make_first_task"}} == named


async def test_every_route_that_changes_something_keeps_one_entry(api: Api, world: World) -> None:
    async with httpx.AsyncClient(base_url=api.address + V1, timeout=30, headers=api.client.headers) as caller:
        await check_entries(api, world, caller, API, "api")


async def test_every_form_that_changes_something_keeps_one_entry(api: Api, world: World) -> None:
    async with httpx.AsyncClient(base_url=api.address, timeout=30, headers=OWN) as browser:
        await browser.post("/login", data={"key": TOKEN})
        await check_entries(api, world, browser, FORMS, "console")
        last = (await entries(api, limit=1))[0]["audit_id"]
        await browser.post("/logout")
        await browser.post("/logout")
    (ended,) = await kept_since(api, last)
    assert (ended["action"], ended["how"], ended["who"]) == ("log_out", "console", "token")


async def test_every_refusal_of_a_change_is_kept_once(api: Api, tmp_path: Path) -> None:
    routes = changing(tmp_path / "other")
    for is_api in (True, False):
        key = await make(api, f"reader {is_api}", Role.VIEWER)
        async with client(api, key) as reader:
            for path, handler in routes:
                if path.startswith(V1) is not is_api:
                    continue
                (method,) = handler.http_methods - {"OPTIONS"}
                last = (await entries(api, limit=1))[0]["audit_id"]
                for _ in range(2):
                    answer = await reader.request(method, re.sub(r"\{[^}]*\}", "none", path))
                    assert_problem(answer, 403, "forbidden")
                kept = [(one["action"], one["who"], one["outcome"]) for one in await kept_since(api, last)]
                assert kept == [(handler.handler_name, f"reader {is_api}", "forbidden")]
