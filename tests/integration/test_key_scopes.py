"""Keys with a scope: what is outside is not found, not listed, and cannot be changed."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import pytest_asyncio

from api_support import BATCH, NDJSON, PUBLISH, Api, assert_problem, running_valkey, serving
from everpost.access import Role
from everpost.embedded import EmbeddedValkey
from everpost.store import open_store
from everpost.task.model import ErrorClass, TaskStatus
from integration.test_keys import TOKEN, client, make
from media_samples import png
from store_contract.making import end

TASKS, FILES = "/api/v1/tasks", "/api/v1/files"
PNG = png(8, 8)
LATER = "2030-01-01T00:00:00Z"
INSIDE: list[dict[str, Any]] = [
    {"platform": "douyin", "account_id": "any", "title": "1"},
    {"platform": "抖音", "account_id": "other", "title": "2"},
    {"platform": "bilibili", "account_id": "studio", "title": "3"},
]
OUTSIDE: list[dict[str, Any]] = [
    {"platform": "bilibili", "account_id": "other", "title": "4"},
    {"platform": "kuaishou", "account_id": "studio", "title": "5"},
]


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    async with running_valkey(tmp_path) as server:
        yield server


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.chaos)])
async def api(tmp_path: Path, valkey: EmbeddedValkey, request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    from stores import empty_store  # noqa: PLC0415 - PostgreSQL is started only if it is used

    with empty_store(request.param, tmp_path) as database:
        async with serving(tmp_path, valkey, token=TOKEN, database=database) as served:
            yield served


@pytest_asyncio.fixture
async def mei(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """An operator of a platform and of one account of another."""
    key = await make(api, "mei", Role.OPERATOR, platforms=["douyin"], accounts=["bilibili/studio"])
    async with client(api, key) as mei:
        yield mei


async def uploaded(caller: httpx.AsyncClient) -> str:
    """The id of a new file."""
    return str((await caller.post(FILES, content=PNG)).json()["file_id"])


async def published(api: Api, items: list[dict[str, Any]]) -> list[str]:
    return [await api.publish(**item, schedule_time=LATER) for item in items]


async def listed(caller: httpx.AsyncClient, path: str = TASKS, **wanted: Any) -> set[str]:
    answer = await caller.get(path, params=wanted)
    assert answer.status_code == 200, answer.text
    return {row["task_id"] for row in answer.json()["data"]}


async def test_lists_have_what_is_inside_only(api: Api, mei: httpx.AsyncClient) -> None:
    inside, outside = await published(api, INSIDE), await published(api, OUTSIDE)
    assert await listed(mei) == set(inside)
    assert (await mei.get(TASKS)).json()["total"] == 3
    assert await listed(mei, platform="bilibili") == {inside[2]}
    assert await listed(mei, account_id="studio") == {inside[2]}
    assert await listed(mei, q="4") == set()
    assert await listed(mei, f"{TASKS}/ids", prefix=outside[0]) == set()
    assert await listed(mei, f"{TASKS}/ids", prefix=inside[0]) == {inside[0]}
    exported = (await mei.get(f"{TASKS}/export")).text
    assert all(task_id in exported for task_id in inside)
    assert not any(task_id in exported for task_id in outside)
    summary = (await mei.get(TASKS)).json()["stats"]
    assert summary["by_platform"] == {"douyin": 2}
    await api.client.post(f"{TASKS}/batch/cancel", json={"task_ids": [*inside, *outside]})
    assert await listed(mei, f"{TASKS}/logs/recent") == set(inside)


async def test_tasks_outside_are_not_found(api: Api, mei: httpx.AsyncClient) -> None:
    (inside, *_), (outside, *_) = await published(api, INSIDE), await published(api, OUTSIDE)
    calls = [
        ("GET", TASKS + "/{}", None), ("GET", TASKS + "/status/{}", None), ("POST", TASKS + "/retry/{}", None),
        ("POST", TASKS + "/retry/{}?force=false", None), ("POST", TASKS + "/cancel/{}", None),
        ("DELETE", TASKS + "/{}", None), ("PATCH", TASKS + "/{}", {"title": "x"}),
        ("POST", TASKS + "/{}/publish-now", None), ("GET", TASKS + "/{}/events", None),
        ("POST", TASKS + "/{}/resolve", {"decision": "succeeded", "why": "x"}),
    ]  # fmt: skip
    for method, path, body in calls:
        assert_problem(await mei.request(method, path.format(outside), json=body), 404, "task_not_found")
    assert (await mei.get(f"{TASKS}/{inside}")).status_code == 200
    assert (await mei.patch(f"{TASKS}/{inside}", json={"title": "x"})).status_code == 200
    assert (await api.client.get(f"{TASKS}/{outside}")).json()["data"]["status"] == "scheduled"


async def test_what_is_outside_is_not_accepted(api: Api, mei: httpx.AsyncClient) -> None:
    for item in OUTSIDE:
        for query in ("", "?dry_run=true"):
            refused = await mei.post(PUBLISH + query, json=item)
            assert_problem(refused, 403, "out_of_scope", "$.account_id")
    batch = (await mei.post(BATCH, json=[*INSIDE, *OUTSIDE])).json()
    assert [one.get("code") for one in batch["results"]] == [None, None, None, "out_of_scope", "out_of_scope"]
    lines = "\n".join(httpx.Request("POST", "http://x", json=item).content.decode() for item in (INSIDE[0], OUTSIDE[0]))
    streamed = await mei.post(BATCH, content=lines, headers=NDJSON)
    assert streamed.text.count("out_of_scope") == 1
    fanout = {"content": {"title": "x"}, "accounts": [INSIDE[0], OUTSIDE[0]]}
    answer = (await mei.post(f"{PUBLISH}/fanout", json=fanout)).json()
    assert (answer["accepted"], answer["rejected"]) == (1, 1)
    assert await api.count_tasks() == 5


async def test_no_patch_moves_a_task_to_another_account(api: Api, mei: httpx.AsyncClient) -> None:
    (inside, *_) = await published(api, INSIDE)
    patch = {"platform": "kuaishou"}
    for method, path, body in (
        ("PATCH", f"{TASKS}/{inside}", patch),
        ("POST", f"{TASKS}/retry/{inside}", {"data": patch}),
        ("POST", f"{TASKS}/batch/edit", {"task_ids": [inside], "data": patch}),
        ("POST", f"{TASKS}/batch/retry", {"task_ids": [inside], "data": {"account_id": "x"}}),
    ):
        assert_problem(await mei.request(method, path, json=body), 403, "out_of_scope")


async def test_work_on_many_tasks_stays_inside(api: Api, mei: httpx.AsyncClient) -> None:
    inside, outside = await published(api, INSIDE), await published(api, OUTSIDE)
    body: dict[str, Any] = {"filter": {"created_after": "2020-01-01"}, "dry_run": True}
    assert (await mei.post(f"{TASKS}/batch/cancel", json=body)).json()["total"] == 3
    by_ids = (await mei.post(f"{TASKS}/batch/cancel", json={"task_ids": [inside[0], *outside]})).json()
    assert by_ids["succeeded"] == 1
    await mei.post(f"{TASKS}/batch/cancel", json={**body, "dry_run": False})
    assert await listed(api.client, status="scheduled") == set(outside)


async def test_only_work_that_was_limited_to_the_scope_can_be_followed(api: Api, mei: httpx.AsyncClient) -> None:
    ids = await published(api, [*INSIDE, *OUTSIDE])
    by_ids: dict[str, Any] = {"task_ids": ids}
    by_filter: dict[str, Any] = {"filter": {"created_after": "2020-01-01"}}
    for body in (by_ids, by_filter):
        of_all = (await api.client.post(f"{TASKS}/batch/delete", json=body)).json()["operation_id"]
        assert_problem(await mei.get(f"/api/v1/operations/{of_all}"), 404, "operation_not_found")
        assert (await mei.get(f"/operations/{of_all}", headers=HTML)).status_code == 404
        own = (await mei.post(f"{TASKS}/batch/delete", json=body)).json()
        followed = (await mei.get(f"/api/v1/operations/{own['operation_id']}")).json()
        assert (followed["total"], followed["failed_count"]) == (len(INSIDE), len(INSIDE))
        assert (await mei.get(f"/operations/{own['operation_id']}", headers=HTML)).status_code == 200
        async with client(
            api, await make(api, f"li of {own['operation_id']}", Role.VIEWER, platforms=["douyin"])
        ) as li:
            assert_problem(await li.get(f"/api/v1/operations/{own['operation_id']}"), 404, "operation_not_found")


async def test_files_of_other_callers_are_not_there(api: Api, mei: httpx.AsyncClient) -> None:
    own, others = await uploaded(mei), await uploaded(api.client)
    assert ((await mei.get(f"{FILES}/{own}")).json()["data"]["submitted_by"]) == "mei"
    assert [one["file_id"] for one in (await mei.get(FILES)).json()["data"]] == [own]
    assert (await api.client.get(f"{FILES}/{own}/content")).content == PNG
    begun = (await api.client.post(FILES, headers={"tus-resumable": "1.0.0", "upload-length": "9"})).json()["file_id"]
    part = {"tus-resumable": "1.0.0", "upload-offset": "0", "content-type": "application/offset+octet-stream"}
    for method, file_id, rest in (
        ("GET", others, ""), ("HEAD", others, ""), ("GET", others, "/content"), ("DELETE", others, ""),
        ("GET", begun, ""), ("PATCH", begun, ""), ("DELETE", begun, ""),
    ):  # fmt: skip
        refused = await mei.request(method, f"{FILES}/{file_id}{rest}", headers=part if method == "PATCH" else {})
        assert refused.status_code == 404, (method, rest, refused.text)
    (inside, *_) = await published(api, INSIDE)
    data = {"files": [{"file_id": own}, {"file_id": others}]}
    recurring = {"name": "r", "cron": "0 9 * * MON", "data": {**INSIDE[0], **data}}
    for method, path, body in (
        ("POST", PUBLISH, {**INSIDE[0], "file_id": others}), ("POST", PUBLISH, {**INSIDE[0], **data}),
        ("POST", PUBLISH, {**INSIDE[0], "file_path": "x.png", "file_id": others}),
        ("PATCH", f"{TASKS}/{inside}", data), ("POST", f"{TASKS}/retry/{inside}", {"data": data}),
        ("POST", f"{TASKS}/batch/edit", {"task_ids": [inside], "data": data}), ("POST", "/api/v1/recurring", recurring),
    ):  # fmt: skip
        assert_problem(await mei.request(method, path, json=body), 422, "unknown_file")
    assert (await mei.patch(f"{TASKS}/{inside}", json={"files": [{"file_id": own}]})).status_code == 200
    assert (await mei.delete(f"{FILES}/{others}")).status_code == 404
    assert (await api.client.get(f"{FILES}/{others}/content")).content == PNG


async def test_a_file_is_read_while_a_task_in_the_scope_names_it(api: Api, mei: httpx.AsyncClient) -> None:
    file_id = await uploaded(api.client)
    outside = await api.publish(**OUTSIDE[0], file_id=file_id, schedule_time=LATER)
    assert (await mei.get(f"{FILES}/{file_id}")).status_code == 404
    inside = await api.publish(**INSIDE[2], file_id=file_id, schedule_time=LATER)
    assert (await mei.get(f"{FILES}/{file_id}")).json()["data"]["used_by"] == [inside]
    assert (await mei.get(f"{FILES}/{file_id}/content")).content == PNG
    in_use = await mei.delete(f"{FILES}/{file_id}")
    assert_problem(in_use, 409, "file_in_use")
    assert in_use.json()["task_ids"] == [inside]
    assert (await mei.post(f"{TASKS}/cancel/{inside}")).status_code == 200
    assert (await mei.get(f"{FILES}/{file_id}/content")).status_code == 404
    assert (await mei.get(f"{FILES}/{file_id}/content", params={"task_id": outside})).status_code == 404
    page = (await mei.get(f"/tasks/{inside}", headers=HTML)).text
    assert (address := f"{FILES[1:]}/{file_id}/content?task_id={inside}") in page
    assert (await mei.get(f"/{address}")).content == PNG
    assert (await mei.get(f"{FILES}/{await uploaded(api.client)}/content", params={"task_id": inside})).is_client_error
    own = await uploaded(mei)
    await api.publish(**OUTSIDE[0], file_id=own, schedule_time=LATER)
    refused = await mei.delete(f"{FILES}/{own}")
    assert_problem(refused, 409, "file_in_use")
    assert refused.json()["task_ids"] == []


async def test_only_work_that_was_limited_to_the_scope_can_be_undone(api: Api, mei: httpx.AsyncClient) -> None:
    inside, outside = await published(api, INSIDE), await published(api, OUTSIDE)
    of_all = (await api.client.post(f"{TASKS}/batch/cancel", json={"task_ids": outside})).json()["operation_id"]
    assert_problem(await mei.post(f"/api/v1/operations/{of_all}/undo"), 404, "operation_not_found")
    own = (await mei.post(f"{TASKS}/batch/cancel", json={"task_ids": [*inside, *outside]})).json()["operation_id"]
    undone = (await mei.post(f"/api/v1/operations/{own}/undo")).json()
    assert undone["brought_back"] == len(INSIDE)
    assert (await mei.get(f"/api/v1/operations/{undone['operation_id']}")).status_code == 200
    assert await listed(api.client, batch_id=undone["operation_id"]) == await listed(mei, status="scheduled")
    removed = (await mei.post(f"{TASKS}/batch/delete", json={"task_ids": inside})).json()["operation_id"]
    assert (await mei.post(f"/api/v1/operations/{removed}/undo")).json()["brought_back"] == len(inside)


async def test_accounts_limits_and_recurring_posts_outside_are_hidden(api: Api, mei: httpx.AsyncClient) -> None:
    for platform, account_id in (("douyin", "a"), ("bilibili", "studio"), ("bilibili", "other"), ("kuaishou", "a")):
        await api.client.post("/api/v1/accounts", json={"platform": platform, "account_id": account_id})
        pause = {"platform": platform, "account_id": account_id, "reason": "x"}
        await api.client.post("/api/v1/limits/pause", json=pause)
    found = (await mei.get("/api/v1/accounts")).json()["data"]
    assert {(one["platform"], one["account_id"]) for one in found} == {("douyin", "a"), ("bilibili", "studio")}
    assert_problem(await mei.get("/api/v1/accounts/bilibili/other"), 404, "account_not_found")
    assert_problem(await mei.post("/api/v1/accounts/bilibili/other/pause"), 404, "account_not_found")
    assert (await mei.post("/api/v1/accounts/bilibili/studio/pause")).status_code == 200
    scopes = {one["scope"] for one in (await mei.get("/api/v1/limits")).json()["data"]}
    assert scopes >= {"douyin/a", "bilibili/studio"}
    assert not scopes & {"bilibili/other", "kuaishou/a", "*", "bilibili", "kuaishou"}
    for body in ({}, {"platform": "bilibili"}, {"platform": "bilibili", "account_id": "other"}):
        answer = await mei.post("/api/v1/limits/pause", json={**body, "reason": "x"})
        assert_problem(answer, 403, "out_of_scope")
    assert (await mei.post("/api/v1/limits/pause", json={"platform": "douyin", "reason": "x"})).status_code == 200
    for name, item in (("in", INSIDE[0]), ("out", OUTSIDE[0])):
        recurring: dict[str, Any] = {"name": name, "cron": "0 9 * * *", "data": item}
        assert (await mei.post("/api/v1/recurring", json=recurring)).status_code == (201 if name == "in" else 403)
        await api.client.post("/api/v1/recurring", json=recurring)
    assert [one["name"] for one in (await mei.get("/api/v1/recurring")).json()["data"]] == ["in"]
    assert_problem(await mei.get("/api/v1/recurring/out"), 404, "recurrence_not_found")


@pytest.mark.parametrize("path", ["/api/v1/audit", "/metrics", f"{TASKS}/health", f"{TASKS}/timeline"])
async def test_a_route_about_everything_is_not_for_a_key_with_a_scope(mei: httpx.AsyncClient, path: str) -> None:
    assert_problem(await mei.get(path), 403, "out_of_scope")


async def test_what_is_due_is_shown_inside_of_the_scope(api: Api, mei: httpx.AsyncClient) -> None:
    inside, _ = await published(api, INSIDE), await published(api, OUTSIDE)
    await published(api, [OUTSIDE[0]] * 4)
    for name, item in (("in", INSIDE[0]), ("out", OUTSIDE[0])):
        await api.client.post("/api/v1/recurring", json={"name": name, "cron": "0 9 1 1 *", "data": item})
    days = {"first": "2030-01-01", "last": "2030-01-02"}
    due = (await mei.get("/api/v1/schedule", params=days)).json()
    assert [(day["tasks"], day["is_exact"], day["occurrences"]) for day in due["days"]] == [(3, True, 1), (0, True, 0)]
    assert {task["task_id"] for task in due["tasks"]} == set(inside)
    assert {one["name"] for one in due["upcoming"]} == {"in"}
    found = list[str]()
    wanted: dict[str, Any] = {**days, "limit": 2}
    while wanted.get("cursor", "begin"):
        page = (await mei.get("/api/v1/schedule", params=wanted)).json()
        found += [task["task_id"] for task in page["tasks"]]
        assert len(page["tasks"]) <= 2
        wanted["cursor"] = page["next_cursor"]
    assert sorted(found) == sorted(inside)


async def test_batches_show_the_tasks_inside_of_the_scope(api: Api, mei: httpx.AsyncClient) -> None:
    later = [{**item, "schedule_time": LATER} for item in (*INSIDE, *OUTSIDE)]
    mixed, outside = [(await api.client.post(BATCH, json=items)).json() for items in (later, later[3:])]
    listed_batches = (await mei.get("/api/v1/batches")).json()["data"]
    assert [(one["batch_id"], sum(one["counts"].values())) for one in listed_batches] == [(mixed["batch_id"], 3)]
    page = await mei.get(f"/batches/{mixed['batch_id']}", headers=HTML)
    ids = [one["task_id"] for one in mixed["results"]]
    assert page.status_code == 200
    assert [task_id in page.text for task_id in ids] == [True, True, True, False, False]
    assert outside["results"][0]["task_id"] not in (await mei.get(f"/batches/{outside['batch_id']}", headers=HTML)).text
    accounts = {"content": {"title": "x", "schedule_time": LATER}, "accounts": [INSIDE[0], OUTSIDE[1]]}
    fanout = (await api.client.post(f"{PUBLISH}/fanout", json=accounts)).json()["fanout_id"]
    shown = (await mei.get(f"/batches/{fanout}", headers=HTML)).text
    assert ("douyin" in shown, "kuaishou" in shown) == (True, False)


async def test_bulk_work_is_listed_if_it_was_limited_to_the_scope(api: Api, mei: httpx.AsyncClient) -> None:
    ids = await published(api, [*INSIDE, *OUTSIDE])
    for task_id in ids:
        await api.client.post(f"{TASKS}/batch/retry", json={"task_ids": [task_id]})
    own = (await mei.post(f"{TASKS}/batch/cancel", json={"task_ids": ids})).json()["operation_id"]
    for task_id in ids:
        await api.client.post(f"{TASKS}/batch/retry", json={"task_ids": [task_id]})
    found = list[str]()
    wanted: dict[str, Any] = {"limit": 1}
    while wanted.get("before", "begin"):
        page = (await mei.get("/api/v1/operations", params=wanted)).json()
        found += [one["operation_id"] for one in page["data"]]
        wanted["before"] = page["next_before"]
    assert found == [own]
    assert own in (await mei.get("/operations", headers=HTML)).text


async def test_failures_and_counts_are_those_of_the_scope(api: Api, mei: httpx.AsyncClient) -> None:
    ids = await published(api, [*INSIDE, *OUTSIDE])
    store = await open_store(api.settings.database_address)
    now_ms = time.time_ns() // 1_000_000
    why: dict[str, Any] = {"error_message": "no", "error_class": ErrorClass.INVALID}
    await end(store, *ids, status=TaskStatus.FAILED, finished_at_ms=now_ms, **why)
    await store.close()
    failures = (await mei.get("/api/v1/failures", params={"limit": 2})).json()
    assert (failures["total"], failures["groups"], len(failures["data"])) == (3, 3, 2)
    assert (await api.client.get("/api/v1/failures")).json()["total"] == 5
    assert (await mei.get(f"{TASKS}/stats")).json()["stats"]["by_platform"] == {"douyin": 2}
    page = (await mei.get("/", headers={**HTML, "accept-language": "en"})).text
    assert "3 in the last 24 hours" in page


async def test_a_fanout_is_reached_if_all_of_its_accounts_are(api: Api, mei: httpx.AsyncClient) -> None:
    for accounts, status in ((INSIDE, 200), ([INSIDE[0], OUTSIDE[0]], 404)):
        content = {"title": "x", "schedule_time": LATER}
        made = await api.client.post(f"{PUBLISH}/fanout", json={"content": content, "accounts": accounts})
        assert (await mei.get(f"{PUBLISH}/fanout/{made.json()['fanout_id']}")).status_code == status


async def test_events_of_tasks_outside_are_not_heard(api: Api, mei: httpx.AsyncClient) -> None:
    async with mei.stream("GET", "/api/v1/events") as events:
        assert events.status_code == 200
        outside, inside = await published(api, OUTSIDE), await published(api, INSIDE)
        heard = ""
        async for chunk in events.aiter_text():
            heard += chunk
            if inside[2] in heard:
                break
    assert not any(task_id in heard for task_id in outside)


HTML = {"accept": "text/html", "sec-fetch-site": "same-origin"}


async def test_pages_show_and_change_what_is_inside_only(api: Api, mei: httpx.AsyncClient) -> None:
    inside, outside = await published(api, INSIDE), await published(api, OUTSIDE)
    page = (await mei.get("/tasks", headers=HTML)).text
    assert all(task_id in page for task_id in inside)
    assert not any(task_id in page for task_id in outside)
    assert (await mei.get(f"/tasks/{inside[0]}", headers=HTML)).status_code == 200
    assert (await mei.get(f"/tasks/{outside[0]}", headers=HTML)).status_code == 404
    assert (await mei.get("/unknown", params={"task": outside[0]}, headers=HTML)).status_code == 404
    for path in ("/schedule?from=2030-01-01", "/operations", "/batches"):
        about = await mei.get(path, headers=HTML)
        assert (about.status_code, any(task_id in about.text for task_id in outside)) == (200, False), path
    audit = await mei.get("/audit", headers={**HTML, "accept-language": "en"})
    assert (audit.status_code, "this is about everything" in audit.text) == (403, True)
    assert 'href="./audit"' not in page
    assert 'href="./audit"' in (await api.client.get("/tasks", headers=HTML)).text
    form = {"kind": "cancel", "task": [*inside, *outside]}
    done = await mei.post("/tasks/bulk/run", data=form, headers=HTML)
    assert done.status_code == 303
    followed = await mei.get(urljoin("/tasks/bulk/run", done.headers["location"]), headers=HTML)
    assert followed.status_code == 200
    assert not any(task_id in followed.text for task_id in outside)
    shown = [await api.client.get(f"{TASKS}/{task_id}") for task_id in (*inside, *outside)]
    statuses = [one.json()["data"]["status"] for one in shown]
    assert statuses == ["cancelled"] * len(inside) + ["scheduled"] * len(outside)
    everything = {"kind": "delete", "which": "all", "status": "cancelled"}
    assert (await mei.post("/tasks/bulk/run", data=everything, headers=HTML)).status_code == 303
    assert (await mei.get("/tasks", params={"status": "cancelled"}, headers=HTML)).text.count("data-row") == 0


async def test_a_viewer_sees_pages_and_no_button_that_changes_anything(api: Api) -> None:
    (task_id,) = await published(api, INSIDE[:1])
    async with client(api, await make(api, "li", Role.VIEWER)) as li:
        for path in ("/tasks", f"/tasks/{task_id}", "/unknown", "/schedule", "/batches", "/operations"):
            page = await li.get(path, headers=HTML)
            assert page.status_code == 200, path
            assert "danger" not in page.text, path
        refused = await li.post(f"/tasks/{task_id}/cancel", headers=HTML)
        assert refused.status_code == 403


async def test_the_console_shows_what_a_key_reaches(api: Api, mei: httpx.AsyncClient) -> None:
    await published(api, [{**item, "title": f"inside {item['title']}"} for item in INSIDE])
    for platform in ("kuaishou", "douyin"):
        body = {"platform": platform, "reason": f"broken {platform}"}
        assert (await api.client.post("/api/v1/limits/pause", json=body)).status_code == 200
    mei.headers["accept"] = "text/html"
    for path in ("/", "/limits", "/platforms", "/accounts", "/help", "/tasks", "/unknown"):
        page = await mei.get(path)
        assert page.status_code == 200, (path, page.text)
        assert "broken kuaishou" not in page.text
        if path in {"/", "/limits"}:
            assert "broken douyin" in page.text
        if path == "/":
            assert "There are no charts for your key" in page.text
    for path in ("/limits/scope?scope=kuaishou", "/limits/scope?scope=*", "/audit"):
        assert (await mei.get(path)).status_code == 403, path
    form = {"scope": "kuaishou", "reason": "not mine"}
    own = {"sec-fetch-site": "same-origin"}
    assert (await mei.post("/limits/pause", data=form, headers=own)).status_code == 403
    form = {"scope": "bilibili/studio", "reason": "mine"}
    assert (await mei.post("/limits/pause", data=form, headers=own)).status_code == 303


BADGE = re.compile(
    r'data-region="undecided-nav">(?:<b class="badge" aria-hidden="true">([^<]*)</b><span[^>]*>([^<]*)<)?'
)


async def undecided_on(caller: httpx.AsyncClient) -> tuple[str | None, str | None]:
    """What the navigation says about tasks of unknown outcome: the number, and the text for screen readers."""
    page = (await caller.get("/help", headers={**HTML, "accept-language": "en"})).text
    found = BADGE.search(page)
    assert found
    return found[1], found[2]


async def test_the_navigation_counts_the_unknown_tasks_of_the_scope(
    api: Api, mei: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everpost.api.console.undecided.FOR_S", 0)
    assert await undecided_on(mei) == await undecided_on(api.client) == (None, None)
    ids = await published(api, [*INSIDE, *OUTSIDE])
    await unknown(api, ids)
    decide = {"filter": {"status": "unknown"}, "decision": "succeeded", "why": "seen", "dry_run": True}
    assert (await mei.post(f"{TASKS}/batch/resolve", json=decide)).json()["success_count"] == 3
    assert await undecided_on(mei) == ("3", ": 3 tasks wait for a decision")
    assert await undecided_on(api.client) == ("5", ": 5 tasks wait for a decision")
    await unknown(api, await published(api, [INSIDE[2]] * 97))
    assert await undecided_on(mei) == ("99+", ": more than 99 tasks wait for a decision")
    async with client(api, await make(api, "li", Role.VIEWER, accounts=["douyin/other", "kuaishou/x"])) as li:
        assert await undecided_on(li) == ("1", ": 1 task waits for a decision")


async def unknown(api: Api, task_ids: list[str]) -> None:
    """End tasks as attempts do whose outcome is not known."""
    store = await open_store(api.settings.database_address)
    await end(store, *task_ids, status=TaskStatus.UNKNOWN)
    await store.close()
