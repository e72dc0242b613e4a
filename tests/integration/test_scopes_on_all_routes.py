"""On every route: a key with a scope learns and changes nothing outside of it, and pages run no words of others."""

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from litestar.routes import HTTPRoute

from api_support import Api
from everpost.access import Role
from everpost.app import create_app
from everpost.settings import temporary_settings
from everpost.task.model import TaskStatus
from integration.test_audit_of_all_changes import API, FORMS, LATER, OWN, V1, World, api, world
from integration.test_keys import client, make

__all__ = ["api", "world"]  # fixtures

MARK = "outside-of-the-scope"
MARKED = re.compile(f'["> ]{MARK}')  # a value, not the path of the request that an error repeats
ON_MANY = ("/tasks/batch/", "/tasks/clear/", "/tasks/archive")
"""Work on many tasks leaves out those that the caller does not reach."""
HOSTILE = '"><img src=x onerror=alert(1)>'
FORM = {"content-type": "application/x-www-form-urlencoded"}
STREAMS = {f"{V1}/events", f"{V1}/tasks/{{task_id:str}}/events"}


def read_routes(folder: Path) -> list[str]:
    app = create_app(temporary_settings(folder, redis="redis://127.0.0.1:1/0"))
    found = [route for route in app.routes if isinstance(route, HTTPRoute) and "GET" in route.methods]
    return sorted({route.path for route in found} - STREAMS)


async def things_outside(api: Api, world: World, words: str = MARK) -> Mapping[str, str]:
    """Things outside of the scope, with a mark in their words: their ids by the names of parameters in paths."""
    account: dict[str, Any] = {"platform": "douyin", "account_id": MARK}
    fields = {**account, "title": words, "schedule_time": LATER}
    post = api.client.post
    assert (await post(f"{V1}/accounts", json={**account, "title": words})).status_code == 201
    assert (await post(f"{V1}/limits/pause", json={**account, "reason": words})).status_code == 200
    recurring = {"name": MARK, "cron": "0 9 * * *", "data": {**account, "title": words}}
    assert (await post(f"{V1}/recurring", json=recurring)).status_code == 201
    file = await post(f"{V1}/files", params={"filename": f"{words}.txt"}, content=MARK.encode())
    fanout = await post(f"{V1}/publish/fanout", json={"content": {"title": words}, "accounts": [fields]})
    task_id = await api.publish(**fields)
    operation = await post(f"{V1}/tasks/batch/delete", json={"task_ids": [task_id]})
    await world.failed(MARK, platform="douyin", account_id=MARK, title=words)
    fanout_id = fanout.json()["fanout_id"]
    return {
        "task_id": task_id, "account_id": MARK, "platform": "douyin", "recurrence_id": MARK, "fanout_id": fanout_id,
        "batch_id": fanout_id, "file_id": file.json()["file_id"], "operation_id": operation.json()["operation_id"],
        "digest": "none", "name": "none", "callback_id": "none", "path": "none",
    }  # fmt: skip


async def test_no_route_tells_of_what_is_outside(api: Api, world: World, tmp_path: Path) -> None:
    outside = await things_outside(api, world)
    routes = read_routes(tmp_path / "other")
    seen_by_admin = 0
    async with client(api, await make(api, "mei", Role.OPERATOR, platforms=["kuaishou"])) as mei:
        for route in routes:
            path = route.replace(":str", "").replace(":path", "").format_map(outside)
            accept = {"accept": "application/json" if route.startswith("/api/") else "text/html"}
            answer = await mei.get(path, headers=accept)
            assert answer.status_code != 500, (route, answer.text)
            assert not MARKED.search(answer.text), route
            by_admin = await api.client.get(path, headers=accept)
            seen_by_admin += bool(MARKED.search(by_admin.text))
    assert seen_by_admin >= 16, "the admin must see it, or the test shows nothing"


async def test_no_route_and_no_form_changes_what_is_outside(api: Api, world: World) -> None:
    key = await make(api, "mei", Role.OPERATOR, platforms=["kuaishou"])
    async with (
        client(api, key) as mei,
        httpx.AsyncClient(base_url=api.address, timeout=30, headers=OWN) as browser,
    ):
        await browser.post("/login", data={"key": key})
        for call in API:
            path, body = await world.filled(call)
            answer = await mei.request(call.method, V1 + path, json=body)
            if call.path.startswith(ON_MANY) and answer.is_success:
                told = answer.json()
                assert (told.get("succeeded", 0), told.get("archived", 0)) == (0, 0), (call, told)
            else:
                assert answer.status_code in {403, 404}, (call, answer.text)
        for call in FORMS:
            path, body = await world.filled(call)
            answer = await browser.request(call.method, path, content=urlencode(body or {}), headers=FORM)
            if call.action == "run_bulk" and answer.status_code == 303:
                followed = await mei.get(f"{V1}/operations/{answer.headers['location'].rpartition('/')[2]}")
                assert followed.json()["succeeded"] == 0
            else:
                assert answer.status_code in {403, 404}, (call, answer.text)


async def test_no_page_takes_words_of_others_for_its_own_code(api: Api, world: World, tmp_path: Path) -> None:
    things = await things_outside(api, world, HOSTILE)
    failed = await world.failed("", platform="douyin", account_id="a", error_message=HOSTILE)
    sent = await world.failed("", TaskStatus.SUCCESS, publish_url="javascript:alert(1)")
    shown = 0
    paths = {route.replace(":str", "").replace(":path", "") for route in read_routes(tmp_path / "other")}
    for path in (*(path.format_map(things) for path in paths), f"/tasks/{failed}", f"/tasks/{sent}"):
        page = (await api.client.get(path, headers={"accept": "text/html"})).text
        if page.startswith("<!doctype html>"):
            shown += html.escape(HOSTILE) in page.replace("&#34;", "&quot;")
            assert "<img src=x" not in page, path
            assert not re.search(r"(?:href|src|action)=.?javascript:", page), path
    assert shown >= 8, "the pages must show it, or the test shows nothing"
