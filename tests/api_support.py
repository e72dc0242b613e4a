"""A served API for tests: on a real socket, with a real Valkey and a real store, and ways to look into them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from everpost.api.server.api_server import ApiServer
from everpost.api.server.protocol import HttpProtocol
from everpost.app import create_server
from everpost.embedded import EmbeddedValkey
from everpost.settings import Settings, temporary_settings
from everpost.task.place import Place
from store_kit import kit_of

PUBLISH = "/api/v1/publish"
BATCH = "/api/v1/publish/batch"
JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
TASK: dict[str, Any] = {"platform": 1, "account_id": "test_account", "title": "测试视频"}
NO_REDIS = "redis://127.0.0.1:1"
OWN_KEYS = {b"everpost:epoch", b"everpost:metrics", b"everpost:workers"}


class Api:
    """A served API.

    Attributes:
        client: An HTTP client of it.
        address: Its address.
    """

    def __init__(self, server: ApiServer, settings: Settings, client: httpx.AsyncClient) -> None:
        self._server = server
        self.settings = settings
        self.address = server.address
        self.client = client

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def connections(self) -> list[HttpProtocol]:
        assert self._server._server is not None
        return list(self._server._server.server_state.connections)  # type: ignore[arg-type]  # all are Everpost's

    async def stop(self) -> None:
        await self._server.stop()

    async def count_tasks(self) -> int:
        return kit_of(self.settings).count(Place.LEDGER, Place.HISTORY)

    async def count_keys(self) -> int:
        redis = Redis.from_url(self.settings.redis_address)
        try:
            return len(set(await redis.keys("*")) - OWN_KEYS)
        finally:
            await redis.aclose()

    async def assert_nothing_left(self) -> None:
        assert await self.count_tasks() == 0
        assert kit_of(self.settings).count_keys() == 0
        assert await self.count_keys() == 0

    async def publish(self, **fields: Any) -> str:
        answer = await self.client.post(PUBLISH, json={**TASK, **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])


@asynccontextmanager
async def serving(folder: Path, valkey: EmbeddedValkey | None, **settings: Any) -> AsyncIterator[Api]:
    """Serve an API on a free port of 127.0.0.1; without a Valkey, Redis is away."""
    redis = valkey.address if valkey else NO_REDIS
    chosen = temporary_settings(folder, **{"redis": redis, "lease": 2.0, **settings})
    server = create_server(chosen)
    address = await server.start()
    headers = {"authorization": f"Bearer {chosen.token}"} if chosen.token else {}
    try:
        async with httpx.AsyncClient(base_url=address, timeout=30, headers=headers) as client:
            yield Api(server, chosen, client)
    finally:
        await server.stop()


@asynccontextmanager
async def running_valkey(folder: Path) -> AsyncIterator[EmbeddedValkey]:
    valkey = await EmbeddedValkey(folder / "valkey", durable=False).start()
    try:
        yield valkey
    finally:
        await valkey.stop()


def assert_problem(answer: httpx.Response, status: int, code: str, path: str | None = None) -> dict[str, Any]:
    """Check every part of a problem of RFC 9457."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert problem["status"] == status
    assert problem["success"] is False
    assert problem["type"] == f"urn:everpost:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].startswith("/")
    if path is not None:
        assert problem.get("path") == path, answer.text
    return problem
