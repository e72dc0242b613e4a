"""The console's answers, as any HTTP client sees them; `tests/browser/` looks at the pages."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api_support import PUBLISH, TASK, Api, assert_problem, running_valkey, serving
from everpost.api.console.answers import POLICY
from everpost.api.console.pages import now
from everpost.views.failure_groups import find_failures

HTML = {"accept": "text/html,application/xhtml+xml"}
OWN = {"sec-fetch-site": "same-origin"}
PAGES = ("/", "/accounts", "/accounts/new", "/platforms", "/limits", "/limits/scope", "/help")
LINK = re.compile(r'(?:href|src|action)="([^"]*)"')


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey) as served:
        yield served


async def test_every_page_is_closed_to_other_sites_and_has_relative_addresses_only(api: Api) -> None:
    for path in PAGES:
        answer = await api.client.get(path, headers=HTML)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"
        addresses = LINK.findall(answer.text)
        assert addresses
        assert [one for one in addresses if one.startswith("/") or ":" in one] == []


async def test_the_files_of_a_page_are_kept_for_ever_under_the_name_of_their_content(api: Api) -> None:
    page = (await api.client.get("/limits/scope", headers=HTML)).text
    files = [address for address in LINK.findall(page) if "static/" in address]
    assert {file.rpartition("/")[2] for file in files} == {"console.css", "console.js", "everpost.svg"}
    for file in files:
        answer = await api.client.get("/limits/" + file)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    old = await api.client.get("/static/000000000000/console.css")
    assert old.headers["cache-control"] == "no-cache"
    assert_problem(await api.client.get("/static/000000000000/secrets.txt"), 404, "route_not_found")


async def test_programs_get_problems_where_browsers_get_pages(api: Api) -> None:
    assert_problem(await api.client.get("/nowhere"), 404, "route_not_found")
    page = await api.client.get("/nowhere", headers=HTML)
    assert page.status_code == 404
    assert "There is no such page" in page.text
    assert_problem(await api.client.get("/api/v1/nowhere", headers=HTML), 404, "route_not_found")
    assert_problem(await api.client.get("/limits?odd=1"), 422, "invalid_value", "?odd")
    for accept in ("*/*", "application/json"):
        assert_problem(await api.client.get("/", headers={"accept": accept}), 404, "route_not_found")


async def test_what_clients_sent_is_text_in_a_page(api: Api) -> None:
    evil = "<script>alert(1)</script>"
    body = {"platform": "douyin", "account_id": "a\"'><img src=x>", "reason": evil}
    assert (await api.client.post("/api/v1/limits/pause", json=body)).status_code == 200
    for path in ("/", "/limits"):
        page = (await api.client.get(path, headers=HTML)).text
        assert "&lt;script&gt;" in page
        assert evil not in page
        assert "<img src=x>" not in page


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.test"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_a_form_without_proof_that_a_page_of_this_server_sent_it_changes_nothing(
    api: Api, proof: dict[str, str]
) -> None:
    form = {"scope": "douyin", "reason": "by a stranger"}
    assert_problem(await api.client.post("/limits/pause", data=form, headers=proof), 403, "foreign_origin")
    assert "by a stranger" not in (await api.client.get("/api/v1/limits")).text


async def test_a_form_that_does_not_fit_is_shown_again_with_the_reason(api: Api) -> None:
    refused = [
        ("/limits/pause", {"scope": "douyin", "reason": " "}, "Give a reason"),
        ("/limits/set", {"scope": "douyin", "concurrency": "0"}, "concurrency"),
        ("/limits/set", {"scope": "douyin", "gap_s": "soon"}, "is not a number"),
        ("/accounts/new", {"platform": "douyin", "account_id": "a", "options": "[1]"}, "JSON object"),
        ("/accounts/new", {"platform": "douyin", "account_id": "a", "credentials": "key = hunter2"}, "credentials"),
        ("/accounts/new", {"platform": "douyin", "account_id": ""}, "printable characters"),
        ("/accounts/new", {"platform": "douyin", "account_id": "x" * 257}, "at most 256 characters"),
        ("/limits/pause", {"scope": "douyin", "reason": "r", "by": "\x1b[2J"}, "can be printed"),
        ("/limits/pause", {"scope": "douyin/\0", "reason": "r"}, "without NUL"),
        ("/limits/choose", {"platform": "douyin", "account_id": "x" * 257}, "256 characters"),
    ]
    for path, form, told in refused:
        answer = await api.client.post(path, data=form, headers={**OWN, **HTML})
        assert answer.status_code == 422, (path, answer.text)
        assert told in answer.text, (path, form)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "*"}, "name"),
        ({"role": "root"}, "role"),
        ({"days": "soon"}, "number of days"),
        ({"days": "inf"}, "expires_in_s"),
        ({"days": "nan"}, "expires_in_s"),
        ({"days": "-1"}, "expires_in_s"),
        ({"days": "1e9"}, "expires_in_s"),
    ],
    ids=str,
)
async def test_a_form_makes_only_keys_that_the_api_would_make(api: Api, fields: dict[str, str], told: str) -> None:
    form = {"name": "mei", "role": "admin", "days": ""} | fields
    answer = await api.client.post("/keys", data=form, headers={**OWN, **HTML})
    assert answer.status_code == 422, answer.text
    assert told in answer.text
    assert (await api.client.get("/api/v1/keys")).json()["data"] == []


@pytest.mark.parametrize(
    "fields",
    [{"priority": "²"}, {"priority": "9" * 5_000}, {"rest": "[" * 10_000}, {"rest": '{"a":' * 3_000}, {"rest": "nul"}],
    ids=lambda fields: next(f"{name}={value[:8]}" for name, value in fields.items()),
)
async def test_an_edit_that_cannot_be_read_is_shown_again_with_the_reason(api: Api, fields: dict[str, str]) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    task = TASK | {"schedule_time": tomorrow}
    task_id = (await api.client.post(PUBLISH, json=task)).json()["task_id"]
    form = {"title": "t", "account_id": "a", "schedule_time": tomorrow, "rest": '{"platform": "douyin"}'}
    answer = await api.client.post(f"/tasks/{task_id}/edit", data=form | fields, headers={**OWN, **HTML})
    assert answer.status_code == 422, answer.text
    assert next(iter(fields)) in answer.text or "JSON" in answer.text


@pytest.mark.parametrize(
    ("back", "location"),
    [
        ("tasks?status=failed", "./tasks?status=failed"),
        ("//evil.test", "./"),
        ("https://evil.test", "./"),
        ("../../x", "./"),
        ("a\r\nset-cookie: x=1", "./"),
    ],
)
async def test_the_way_back_from_the_preferences_stays_on_this_server(api: Api, back: str, location: str) -> None:
    answer = await api.client.post("/preferences", data={"back": back, "theme": "dark"}, headers=OWN)
    assert answer.status_code == 303
    assert answer.headers["location"] == location
    assert answer.headers["set-cookie"].startswith("everpost_theme=dark; ")


async def test_many_viewers_ask_the_store_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    find = now.find_facts

    async def counted(services: object) -> object:
        nonlocal asked
        asked += 1
        return await find(services)  # type: ignore[arg-type]  # they are the services

    monkeypatch.setattr(now, "find_facts", counted)
    answers = await asyncio.gather(*(api.client.get("/", headers=HTML) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert asked == 1


async def test_failures_are_grouped_once_while_other_facts_of_the_page_are_asked_for_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def counted(*given: Any) -> Any:
        asked.append(given[-1])
        return await find_failures(*given)

    monkeypatch.setattr(f"{now.__name__}.find_failures", counted)
    monkeypatch.setattr(now, "FACTS_S", 0.0)
    monkeypatch.setattr(now, "FAILURES_S", 60.0)
    for _ in range(3):
        assert (await api.client.get("/", headers=HTML)).status_code == 200
    assert asked == [now.GROUPS]


async def test_without_redis_the_first_page_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, None) as api:
        page = await api.client.get("/", headers=HTML)
        assert page.status_code == 200
        assert "Redis does not answer" in page.text


async def test_with_a_token_a_browser_is_led_to_the_login_and_back(tmp_path: Path) -> None:
    async with serving(tmp_path, None, token="secret-token") as api:
        del api.client.headers["authorization"]
        answer = await api.client.get("/limits/scope?scope=douyin", headers=HTML)
        assert answer.status_code == 303
        assert answer.headers["location"] == "../login?next=limits%2Fscope%3Fscope%3Ddouyin"
        assert_problem(await api.client.get("/limits"), 401, "unauthorized")


async def test_the_methods_of_each_page_are_told(api: Api) -> None:
    allowed = {"/": "GET, HEAD, OPTIONS", "/accounts/new": "GET, HEAD, OPTIONS, POST", "/limits/pause": "OPTIONS, POST"}
    for path, methods in allowed.items():
        answer = await api.client.options(path)
        assert (answer.status_code, answer.headers["allow"]) == (204, methods)
        wrong = await api.client.request("DELETE", path)
        assert_problem(wrong, 405, "method_not_allowed")
        assert wrong.headers["allow"] == methods
