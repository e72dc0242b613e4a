"""What a page of another site makes a browser send changes nothing and reads nothing, on every route there is."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from litestar.routes import HTTPRoute
from structlog.testing import capture_logs

from api_support import NO_REDIS, PUBLISH, TASK, Api, assert_problem, serving
from everpost.app import create_app, create_server
from everpost.settings import temporary_settings

TOKEN = "a secret of twenty"
CROSS_SITE: dict[str, dict[str, str]] = {
    "cross-site": {"sec-fetch-site": "cross-site"},
    "same-site": {"sec-fetch-site": "same-site"},
    "a foreign origin": {"origin": "https://evil.example"},
    "a sandboxed page": {"origin": "null"},
    "both": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
}
VALUES = {"what": "success", "path": "openapi.json"}
SOME_ID = "0" * 32
CHANGES = {"POST", "PUT", "PATCH", "DELETE"}


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, None) as served:
        yield served


@pytest_asyncio.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, None, token=TOKEN) as served:
        yield served


def routes() -> Iterator[tuple[str, str]]:
    """Every method and path the application serves, Litestar's own included."""
    for route in create_app(temporary_settings(redis=NO_REDIS)).routes:
        if isinstance(route, HTTPRoute):
            template = re.sub(r"\{(\w+)\}", lambda name: VALUES.get(name[1], SOME_ID), route.path_format)
            assert "{" not in template
            yield from ((str(method), template) for method in route.methods)


ROUTES = sorted(set(routes()))
CHANGING = ("/metrics", "/health/ready", "/api/v1/tasks/health")  # their bodies differ from one answer to the next


def test_there_are_routes_of_both_kinds() -> None:
    assert ("POST", PUBLISH) in ROUTES
    assert ("POST", "/api/v1/tasks/clear/success") in ROUTES
    assert ("GET", "/schema/openapi.json") in ROUTES
    assert {method for method, _ in ROUTES} == {"GET", "OPTIONS"} | CHANGES


async def test_no_route_that_changes_something_serves_another_site(api: Api, guarded: Api) -> None:
    for served, headers in product((api, guarded), CROSS_SITE.values()):
        for method, path in ROUTES:
            if method in CHANGES:
                answer = await served.client.request(method, path, headers=headers, json=TASK)
                assert_problem(answer, 403, "foreign_origin")
        assert await served.count_tasks() == 0


async def test_no_route_serves_a_stranger_s_name_without_a_token(api: Api) -> None:
    for method, path in ROUTES:
        if method != "OPTIONS":
            for host in ("evil.example", f"evil.example:{api.port}", "localhost.evil.example"):
                answer = await api.client.request(method, path, headers={"host": host}, json=TASK)
                assert_problem(answer, 403, "foreign_host")
    assert await api.count_tasks() == 0


async def test_loopback_s_names_are_served(api: Api) -> None:
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000", "localhost.:80"):
        assert (await api.client.post(PUBLISH, headers={"host": host}, json=TASK)).status_code == 202
        assert (await api.client.get("/api/v1/tasks", headers={"host": host})).status_code == 200


async def test_with_a_token_any_name_is_served(guarded: Api) -> None:
    headers = {"host": "posts.example.com", "origin": "https://posts.example.com"}
    assert (await guarded.client.post(PUBLISH, headers=headers, json=TASK)).status_code == 202


async def test_the_pages_of_the_api_itself_may_change_something(api: Api) -> None:
    ours: tuple[dict[str, str], ...] = ({"sec-fetch-site": "same-origin"}, {"origin": api.address})
    for headers in ours:
        assert (await api.client.post(PUBLISH, headers=headers, json=TASK)).status_code == 202
        assert (await api.client.post("/api/v1/tasks/clear/success", headers=headers)).status_code == 200


async def ask_raw(api: Api, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


CODED = b"Content-Type: application/json\r\nTransfer-Encoding: %s\r\nConnection: close\r\n\r\n2\r\n[]\r\n0\r\n\r\n"
RAW: dict[str, tuple[bytes, int, bytes]] = {
    "two hosts": (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n", 400, b""),
    "no host": (b"GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n", 400, b"bad_input"),
    "no host in HTTP/1.0": (b"GET /health/live HTTP/1.0\r\n\r\n", 200, b"live"),
    "two hosts on a direct route": (
        b"POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        400,
        b"bad_input",
    ),
    "a coded body": (
        b"POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\n" + CODED % b"gzip, chunked",
        501,
        b"unsupported_transfer_coding",
    ),
    "a coded body in a batch": (
        b"POST /api/v1/publish/batch HTTP/1.1\r\nHost: localhost\r\n" + CODED % b"gzip\r\nTransfer-Encoding: chunked",
        501,
        b"unsupported_transfer_coding",
    ),
}


async def test_a_head_that_http_forbids_is_refused(api: Api) -> None:
    for what, (request_bytes, status, said) in RAW.items():
        answer = await ask_raw(api, request_bytes)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (what, answer)
        assert said in answer, what


async def test_a_body_in_a_content_coding_is_refused_by_its_name(api: Api) -> None:
    answer = await api.client.post(PUBLISH, content=b"x", headers={"content-type": "application/json", **GZIP})
    assert_problem(answer, 415, "unsupported_media_type")


GZIP = {"content-encoding": "gzip"}


# HEAD, and a header of every answer


async def test_head_answers_as_get_does_without_the_body(api: Api) -> None:
    for path in [path for method, path in ROUTES if method == "GET"]:
        async with api.client.stream("GET", path) as got:
            is_endless = got.headers["content-type"].startswith("text/event-stream")
            body = b"" if is_endless else await got.aread()
        headed = await api.client.head(path)
        assert (headed.status_code, headed.content) == (got.status_code, b""), path
        assert headed.headers["content-type"] == got.headers["content-type"], path
        if "content-length" in got.headers and not path.startswith(CHANGING):
            assert headed.headers["content-length"] == str(len(body)), path
        raw = await ask_raw(api, b"HEAD %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
        assert raw.endswith(b"\r\n\r\n"), path
        assert raw.count(b"\r\n\r\n") == 1, path


async def test_head_is_named_where_another_method_is_refused(api: Api) -> None:
    assert (await api.client.put("/health/live")).headers["allow"] == "GET, HEAD, OPTIONS"
    answer = await api.client.head(PUBLISH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert (await api.client.options("/api/v1/tasks/some")).headers["allow"] == "DELETE, GET, OPTIONS, PATCH"
    application = httpx.ASGITransport(app=create_app(api.settings))  # type: ignore[arg-type]  # as Litestar types it
    async with httpx.AsyncClient(transport=application, base_url="http://localhost") as alone:
        headed = await alone.head("/health/live")
    assert (headed.status_code, headed.content) == (200, b"")


async def test_every_answer_forbids_guessing_its_type(api: Api) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/health/live", {}),
        ("HEAD", "/metrics", {}),
        ("GET", "/schema", {}),
        ("GET", "/nope", {}),
        ("POST", PUBLISH, {"json": TASK}),
        ("POST", PUBLISH, {"json": TASK, "headers": {"origin": "null"}}),
        ("POST", "/api/v1/publish/batch", {"content": b"{}\n", "headers": {"content-type": "application/x-ndjson"}}),
    ]
    for method, path, options in asked:
        answer = await api.client.request(method, path, **options)
        assert answer.headers["x-content-type-options"] == "nosniff", path
    assert b"x-content-type-options: nosniff" in (await ask_raw(api, b"nonsense\r\n\r\n")).lower()


async def test_serving_other_machines_without_a_token_logs_a_warning(tmp_path: Path) -> None:
    with capture_logs() as lines:
        create_server(temporary_settings(tmp_path, redis=NO_REDIS, host="0.0.0.0", insecure=True))
        create_server(temporary_settings(tmp_path, redis=NO_REDIS, insecure=True))
        create_server(temporary_settings(tmp_path, redis=NO_REDIS, host="0.0.0.0", insecure=True, token=TOKEN))
    (line,) = (line for line in lines if line["log_level"] == "warning")
    assert (line["event"], line["host"]) == ("api.open_to_others", "0.0.0.0")
