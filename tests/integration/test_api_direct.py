"""Routes served without Litestar answer every request as the application would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Request

from api_support import PUBLISH, running_valkey
from everpost.api.http.direct import DirectRequest
from everpost.app import create_server
from everpost.settings import temporary_settings
from everpost.task.place import Place
from store_kit import kit_of

RETRY = "/api/v1/tasks/retry"
FAILED, SUCCEEDED = "0" * 32, "1" * 32
TOKEN = "a secret of twenty"
ENDED = {
    "platform": "douyin",
    "account_id": "a",
    "title": "t",
    "data": '{"platform": 1, "account_id": "a"}',
    "created_at": "2026-01-01T00:00:00.000Z",
}
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a retry": ("POST", f"{RETRY}/{FAILED}", {}),
    "with a body": ("POST", f"{RETRY}/{FAILED}", {"json": {"force": True}}),
    "of what succeeded": ("POST", f"{RETRY}/{SUCCEEDED}", {}),
    "of what succeeded, forced": ("POST", f"{RETRY}/{SUCCEEDED}?force=true", {}),
    "of nothing": ("POST", f"{RETRY}/nobody", {}),
    "with a parameter": ("POST", f"{RETRY}/{FAILED}?by=me", {}),
    "with an unknown one": ("POST", f"{RETRY}/{FAILED}?nonsense=1", {}),
    "without an id": ("POST", f"{RETRY}/", {}),
    "with no slash either": ("POST", RETRY, {}),
    "with a slash behind": ("POST", f"{RETRY}/{FAILED}/", {}),
    "of more than an id": ("POST", f"{RETRY}/{FAILED}/more", {}),
    "of a template": ("POST", f"{RETRY}/%7Btask_id%7D", {}),
    "of no ASCII": ("POST", f"{RETRY}/%E6%96%87", {}),
    "of a NUL": ("POST", f"{RETRY}/a%00b", {}),
    "of a folder": ("POST", f"{RETRY}/..%2F..", {}),
    "of a long id": ("POST", f"{RETRY}/{'x' * 5_000}", {}),
    "by another method": ("GET", f"{RETRY}/{FAILED}", {}),
    "without a token": ("POST", f"{RETRY}/{FAILED}", {"headers": {"authorization": ""}}),
    "with an odd host": ("POST", f"{RETRY}/{FAILED}", {"headers": {"host": "a b"}}),
    "from another site": ("POST", f"{RETRY}/{FAILED}", {"headers": {"origin": "https://evil.example"}}),
    "a bad post": ("POST", PUBLISH, {"content": b"{", "headers": {"content-type": "application/json"}}),
    "a post of another type": ("POST", PUBLISH, {"content": b"a=b", "headers": {"content-type": "text/plain"}}),
    "a post with a parameter": ("POST", f"{PUBLISH}?a=b", {"json": {}}),
    "a post with a slash behind": ("POST", f"{PUBLISH}/", {"json": {}}),
    "a post by another method": ("PUT", PUBLISH, {"json": {}}),
}


@asynccontextmanager
async def both_ways(folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """A client of the server, and one of the application in it."""
    async with running_valkey(folder) as valkey:
        settings = temporary_settings(folder, redis=valkey.address, token=TOKEN)
        server = create_server(settings)
        address = await server.start()
        try:
            for task_id, status in ((FAILED, "failed"), (SUCCEEDED, "success")):
                kit_of(settings).add(Place.HISTORY, {"task_id": task_id, "status": status, **ENDED})
            headers = {"authorization": f"Bearer {TOKEN}"}
            transport = httpx.ASGITransport(app=server.app)  # type: ignore[arg-type]  # as Litestar types it
            async with (
                httpx.AsyncClient(base_url=address, headers=headers) as served,
                httpx.AsyncClient(base_url=address, headers=headers, transport=transport) as alone,
            ):
                yield served, alone
        finally:
            await server.stop()


def test_a_direct_request_has_all_that_litestars_has() -> None:
    """Also if it is asked for after the handler has begun, and no more than that."""
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/a",
        "query_string": b"",
        "headers": [(b"host", b"a.example")],
    }
    scope |= {"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 5), "scheme": "http", "root_path": "", "state": {}}
    usual: Request[Any, Any, Any] = Request(scope, _unused, _unused)
    direct = DirectRequest(scope, _unused, _unused)
    for name in ("method", "url", "cookies", "content_type", "is_connected", "supports_push_promise"):
        assert getattr(direct, name) == getattr(usual, name)
    assert direct.headers["host"] == "a.example"
    assert not hasattr(direct, "nonsense")


async def _unused(*_: Any) -> Any:
    raise AssertionError


async def test_a_direct_route_answers_as_the_application_does(tmp_path: Path) -> None:
    async with both_ways(tmp_path) as clients:
        seen = {}
        for name, (method, path, options) in REQUESTS.items():
            answers = [await client.request(method, path, **options) for client in clients]
            served, alone = ((answer.status_code, answer.headers["content-type"], answer.json()) for answer in answers)
            assert served == alone, name
            seen[name] = served[0]
        metrics = (await clients[0].get("/metrics")).text
    assert seen["a retry"] == 200
    assert seen["of what succeeded"] == 409
    assert seen["without a token"] == 401
    assert f'route="{RETRY}/{{task_id}}"' in metrics
    assert FAILED not in metrics


@pytest.mark.parametrize("path", [f"{RETRY}/{FAILED}", PUBLISH])
async def test_a_direct_route_is_not_a_litestar_route(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both_ways(tmp_path) as (served, _):

        async def never(*_: Any) -> None:
            raise AssertionError("it went through Litestar")

        monkeypatch.setattr("litestar.Litestar.__call__", never)
        answer = await served.post(path, json={"platform": 1, "account_id": "a", "title": "t"})
        assert answer.status_code in {200, 202}
