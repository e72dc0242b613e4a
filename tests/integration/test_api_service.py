"""The API as a server: its health, its metrics, its token, its start and its end."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from api_support import PUBLISH, TASK, Api, assert_problem, running_valkey, serving
from everpost.app import create_server
from everpost.children import Child, wait_for_log
from everpost.embedded import EmbeddedValkey
from everpost.errors import DatabaseUnusable, SettingsError
from everpost.settings import temporary_settings
from everpost.testing import Stack, eventually

TOKEN = "correct horse battery staple"
WRONG_TOKENS = (
    *(None, "", "Bearer", "Bearer wrong"),
    *(f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"),
)


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    async with running_valkey(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def api(tmp_path: Path, valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    async with serving(tmp_path, valkey) as served:
        yield served


async def test_without_a_worker_it_lives_and_is_not_ready(api: Api) -> None:
    assert (await api.client.get("/health/live")).json() == {"status": "live"}
    answer = await api.client.get("/health/ready")
    assert answer.status_code == 503
    checks = {check["name"]: check["ok"] for check in answer.json()["checks"]}
    assert checks == {"database": True, "redis": True, "worker": False, "dispatch": True}
    assert (await api.client.get("/api/v1/tasks/health")).json()["status"] == "degraded"


async def test_with_a_worker_it_is_ready(everpost: Stack) -> None:
    async def ready() -> bool:
        return (await everpost.client.get("/health/ready")).status_code == 200

    await eventually(ready)
    await everpost.publish()
    await everpost.drain()
    health = (await everpost.client.get("/api/v1/tasks/health")).json()
    assert (health["status"], health["accepted_last_minute"], health["summary"]["success"]) == ("healthy", 1, 1)
    assert len(health["queue"]["workers"]) == 1
    assert set(health["queue"]["depths"]) == {str(priority) for priority in range(10)}


async def test_without_redis_it_is_not_ready_and_says_so(api: Api, valkey: EmbeddedValkey) -> None:
    await valkey.stop()
    answer = await api.client.get("/health/ready")
    checks = {check["name"]: check["ok"] for check in answer.json()["checks"]}
    assert checks == {"database": True, "redis": False, "worker": False, "dispatch": True}
    assert (await api.client.get("/api/v1/tasks/health")).json()["queue"] is None
    assert "everpost_redis_up 0.0" in (await api.client.get("/metrics")).text


async def test_metrics_are_what_prometheus_reads(api: Api) -> None:
    await api.publish(priority=0)
    await api.publish(platform=3)
    await api.client.post(PUBLISH, json={})
    text = (await api.client.get("/metrics")).text
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["everpost_tasks", "douyin", "pending"] == 1
    assert samples["everpost_queue_jobs", "now", "0"] == 1
    assert samples["everpost_workers",] == 0
    assert samples["everpost_http_requests_total", "POST", PUBLISH, "202"] == 2
    assert samples["everpost_http_requests_total", "POST", PUBLISH, "422"] == 1
    assert samples["everpost_http_request_duration_seconds_count", "POST", PUBLISH] == 3
    assert samples["everpost_http_request_duration_seconds_bucket", "+Inf", "POST", PUBLISH] == 3
    assert 0 < samples["everpost_http_request_duration_seconds_sum", "POST", PUBLISH] < 60


async def test_the_catalogue_is_shown_without_its_options(api: Api) -> None:
    platforms = (await api.client.get("/api/v1/platforms")).json()["data"]
    assert [platform["id"] for platform in platforms][:5] == [1, 2, 3, 4, 5]
    assert all("options" not in platform for platform in platforms)


async def test_the_document_is_served_for_machines_and_for_people(api: Api) -> None:
    document = (await api.client.get("/schema/openapi.json")).json()
    assert "/api/v1/publish" in document["paths"]
    page = await api.client.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert all(f"<code>{path}</code>" in page.text for path in document["paths"])
    assert "测试视频" in page.text
    assert (
        re.findall(r"(?:src|href|action)\s*=\s*[\"']?\s*(?:\w+:)?//", page.text) == []
    )  # it loads nothing from elsewhere
    assert re.findall("<script[^>]*>", page.text) == ["<script type='module' src='/schema/document.js'>"]
    assert (await api.client.get("/schema/document.js")).headers["content-type"].startswith("text/javascript")


@pytest_asyncio.fixture
async def guarded(tmp_path: Path, valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    async with serving(tmp_path, valkey, token=TOKEN) as served:
        yield served


async def test_every_route_but_liveness_and_the_document_wants_the_token(guarded: Api) -> None:
    document = (await guarded.client.get("/schema/openapi.json")).json()
    routes = [(method, path) for path, methods in document["paths"].items() for method in methods]
    for header in WRONG_TOKENS:
        headers = {} if header is None else {"authorization": header}
        async with httpx.AsyncClient(base_url=guarded.address, headers=headers) as stranger:
            for path in ("/health/live", "/schema", "/schema/openapi.json", "/schema/document.js"):
                assert (await stranger.get(path)).status_code == 200
            for method, path in routes:
                if path != "/health/live":
                    answer = await stranger.request(method, path)
                    assert_problem(answer, 401, "unauthorized")
                    assert answer.headers["www-authenticate"] == "Bearer"
    await guarded.assert_nothing_left()


async def test_the_token_lets_in(guarded: Api) -> None:
    await guarded.publish()
    lower = {"authorization": f"bearer {TOKEN}"}
    assert (await guarded.client.post(PUBLISH, json=TASK, headers=lower)).status_code == 202


async def test_other_machines_are_served_only_with_a_token_or_on_purpose(tmp_path: Path) -> None:
    settings = temporary_settings(tmp_path, redis="redis://127.0.0.1:1", host="0.0.0.0")
    with pytest.raises(SettingsError, match="EVERPOST_TOKEN"):
        create_server(settings)


async def test_a_taken_port_is_said_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = temporary_settings(tmp_path, redis="redis://127.0.0.1:1", port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match="in use"):
            await create_server(settings).start()
    assert not settings.database_path.exists()


async def test_a_file_that_is_not_a_database_stops_the_start(tmp_path: Path) -> None:
    settings = temporary_settings(tmp_path, redis="redis://127.0.0.1:1")
    settings.database_path.write_bytes(b"this is no database, but it is long enough to be taken for one" * 100)
    with pytest.raises(DatabaseUnusable):
        await create_server(settings).start()


async def test_a_stop_answers_waiting_requests(tmp_path: Path, valkey: EmbeddedValkey) -> None:
    server = create_server(temporary_settings(tmp_path, redis=valkey.address))
    address = await server.start()
    async with httpx.AsyncClient(base_url=address, timeout=30) as client:
        location = (await client.post(PUBLISH, json=TASK)).headers["location"]
        waiting = asyncio.create_task(client.get(f"{location}?wait=60"))

        async def waits() -> bool:
            return bool(server.app.state.services.waiter._waiters)

        await eventually(waits)
        await asyncio.wait_for(server.stop(), 10)
        assert (await waiting).json()["data"]["status"] == "pending"
        with pytest.raises(httpx.ConnectError):
            await client.get("/health/live")


async def test_sigterm_ends_a_process_in_order(tmp_path: Path, valkey: EmbeddedValkey) -> None:
    log = tmp_path / "api.log"
    (address := tmp_path / "redis").write_text(valkey.address)
    env = {
        "EVERPOST_REDIS_FILE": str(address),
        "EVERPOST_DATA": str(tmp_path),
        "EVERPOST_PORT": "0",
        "EVERPOST_LOG_FORMAT": "json",
    }
    with log.open("wb") as output:
        child = Child([sys.executable, "-m", "everpost.cli", "api"], env=env, output=output)
    await wait_for_log(log, b"api.serving", child, 20)
    os.kill(child.pid, signal.SIGTERM)
    assert await asyncio.wait_for(child.wait(), 10) == 0
    said = log.read_text()
    assert "api.stopped" in said
    assert "Traceback" not in said
    assert not (tmp_path / "everpost.db-wal").exists()  # the last connection closed in order


async def test_no_route_fails_worse_than_with_503_while_the_file_is_away(everpost: Stack) -> None:
    task_id = await everpost.publish()
    await everpost.wait_until_ended(task_id)
    path = everpost.settings.database_path
    moved = path.rename(path.with_suffix(".moved"))
    refused = set()
    for template, methods in everpost.app.openapi_schema.to_schema()["paths"].items():
        url = template.replace("{what}", "failed").replace("{task_id}", task_id).replace("{operation_id}", "none")
        for method in methods:
            body = {"task_ids": [task_id]} if "batch" in url and "publish" not in url else TASK
            answer = await everpost.client.request(method.upper(), url, json=None if method == "get" else body)
            assert answer.status_code < 500 or answer.status_code == 503, (method, url, answer.text)
            if answer.status_code == 503 and url != "/health/ready":
                assert answer.headers["retry-after"] == "60", (method, url)
                refused.add(url)
    moved.rename(path)
    assert {"/api/v1/publish", "/api/v1/tasks/batch/delete", "/api/v1/tasks/clear/failed"} <= refused
    assert await everpost.publish()


SILENT = {
    "nothing": b"",
    "half a head": b"POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\n",
    "half a body behind its refusal": b"POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
}


@pytest.mark.parametrize("sent", SILENT.values(), ids=SILENT)
async def test_a_client_that_sends_no_request_is_cut_off(
    tmp_path: Path, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("everpost.api.server.api_server.KEEP_ALIVE_S", 0.2)
    async with serving(tmp_path, valkey, token=TOKEN) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(sent)
        if sent.endswith(b"{"):
            assert (await reader.readline()).startswith(b"HTTP/1.1 401")
            writer.write(b" ")  # ends uvicorn's own wait for the next request
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()


async def test_a_connection_in_use_is_kept(
    tmp_path: Path, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everpost.api.server.api_server.KEEP_ALIVE_S", 0.4)
    async with serving(tmp_path, valkey) as api:
        task_id = await api.publish()
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        for wait_s in (1.2, 0, 0):
            await asyncio.sleep(0.2)
            writer.write(
                b"GET /api/v1/tasks/%s?wait=%g HTTP/1.1\r\nHost: localhost\r\n\r\n" % (task_id.encode(), wait_s)
            )
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
            assert task_id.encode() in await reader.readexactly(int(length[16:]))
        writer.close()
