"""Streams of events through nginx, with TLS and a base path, and nginx's own settings for buffers and times."""

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from browser_kit.scene import Scene
from browser_kit.tls_proxy import proxied
from event_reader import Reader, reading

READERS = 100
TOLD = ["task.accepted", "task.started", "task.ended"]
TASK = {"platform": "douyin", "account_id": "studio", "title": "Through nginx"}


def through(address: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=address, verify=False, timeout=60, limits=limits)


async def publish(client: httpx.AsyncClient) -> str:
    return str((await client.post("api/v1/publish", json=TASK)).json()["task_id"])


async def many_readers(address: str) -> None:
    async with AsyncExitStack() as open_streams:
        client = await open_streams.enter_async_context(through(address))
        streams = [reading(client, "api/v1/events") for _ in range(READERS)]
        readers = [await open_streams.enter_async_context(stream) for stream in streams]
        task_id = await publish(client)
        for reader in readers:
            await reader.until_told("task.ended", task_id)
        assert all(reader.told_of(task_id) == TOLD for reader in readers)
        assert "x-accel-buffering" not in readers[0].headers  # nginx has understood it


async def across_a_reload(address: str, nginx: int) -> None:
    async with through(address) as client:
        reader = Reader()
        with pytest.raises(httpx.HTTPError):
            await _follow_until_cut(client, reader, nginx)
        missed = await publish(client)
        async with reading(client, "api/v1/events", after=reader.last_id) as again:
            await again.until_told("task.ended", missed)
            assert again.of("reset") == []
            assert again.told_of(missed) == TOLD


async def _follow_until_cut(client: httpx.AsyncClient, reader: Reader, nginx: int) -> None:
    async with client.stream("GET", "api/v1/events", timeout=30) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                reader.last_id = line.removeprefix("id: ")
                os.kill(nginx, signal.SIGHUP)


async def keep_alive(address: str) -> None:
    async with through(address) as client, client.stream("GET", "api/v1/events", timeout=30) as answer:
        heard = 0
        async for line in answer.aiter_lines():
            heard += line == ": keep-alive"
            if heard == 4:
                return
    raise AssertionError("nginx has ended a stream that is alive")


@pytest.mark.quick
def test_a_hundred_readers_behind_nginx_are_told_at_once(empty_scene: Scene, tmp_path: Path) -> None:
    with proxied(tmp_path / "nginx", empty_scene.address) as address:
        empty_scene.run(many_readers(address))


def test_a_reader_that_nginx_cuts_off_when_it_reloads_misses_nothing(empty_scene: Scene, tmp_path: Path) -> None:
    with proxied(tmp_path / "nginx", empty_scene.address) as address:
        nginx = int((tmp_path / "nginx" / "nginx.pid").read_text())
        empty_scene.run(across_a_reload(address, nginx))


def test_nginx_keeps_a_stream_open_in_which_nothing_happens(
    empty_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everpost.views.events.feed.KEEP_ALIVE_S", 1)
    with proxied(tmp_path / "nginx", empty_scene.address, "proxy_read_timeout 3s;") as address:
        empty_scene.run(keep_alive(address))
