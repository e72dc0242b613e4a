"""Resumable uploads by tus 1.0.0: interrupted, repeated, at once, and over the death of the API."""

import asyncio
import base64
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api_support import Api, assert_problem, serving
from everpost.testing import eventually

FILES = "/api/v1/files"
TUS = {"tus-resumable": "1.0.0"}
STREAM = {**TUS, "content-type": "application/offset+octet-stream"}
CONTENT = os.urandom(3_000_000)
NAME = base64.b64encode("录像.bin".encode()).decode()


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, None) as served:
        yield served


async def create(client: httpx.AsyncClient, **headers: str) -> str:
    given = {"upload-length": str(len(CONTENT)), "upload-metadata": f"filename {NAME},is_private", **headers}
    answer = await client.post(FILES, headers={**TUS, **{name.replace("_", "-"): each for name, each in given.items()}})
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert parsedate_to_datetime(answer.headers["upload-expires"]).tzinfo is not None
    return str(answer.headers["location"])


async def send(client: httpx.AsyncClient, place: str, offset: int, content: Any, **headers: str) -> httpx.Response:
    given = {**STREAM, "upload-offset": str(offset), **{name.replace("_", "-"): each for name, each in headers.items()}}
    return await client.patch(place, content=content, headers=given)


async def offset_of(client: httpx.AsyncClient, place: str) -> int:
    answer = await client.head(place, headers=TUS)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    return int(answer.headers["upload-offset"])


async def until_it_arrives(client: httpx.AsyncClient, place: str) -> None:
    """Wait until the server has written something of what a request is sending."""

    async def has_begun() -> bool:
        return await offset_of(client, place) > 0

    await eventually(has_begun, what="the first part")


async def assert_stored(client: httpx.AsyncClient, place: str, content: bytes = CONTENT) -> None:
    data = (await client.get(place)).json()["data"]
    assert (data["status"], data["filename"], data["size_bytes"]) == ("pending", "录像.bin", len(content))
    assert data["sha256"] == hashlib.sha256(content).hexdigest()
    assert (await client.get(f"{place}/content")).content == content
    assert await offset_of(client, place) == len(content)


async def test_the_server_says_what_it_can(api: Api) -> None:
    answer = await api.client.options(FILES)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["tus-version"] == "1.0.0"
    assert {"creation", "expiration", "termination"} <= set(answer.headers["tus-extension"].split(","))
    assert answer.headers["tus-max-size"] == str(api.settings.max_media)


async def test_a_file_arrives_in_parts(api: Api) -> None:
    place = await create(api.client)
    answer = await api.client.head(place, headers=TUS)
    assert answer.headers["upload-length"] == str(len(CONTENT))
    assert answer.headers["upload-metadata"] == f"filename {NAME},is_private"
    for start in range(0, len(CONTENT), 1_000_000):
        answer = await send(api.client, place, start, CONTENT[start : start + 1_000_000])
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["upload-offset"] == str(start + 1_000_000)
        assert answer.headers["tus-resumable"] == "1.0.0"
    await assert_stored(api.client, place)
    assert_problem(await send(api.client, place, len(CONTENT), b"x"), 404, "file_not_found")


async def test_the_length_may_come_later_and_bytes_with_the_beginning(api: Api) -> None:
    headers = {**STREAM, "upload-defer-length": "1", "upload-metadata": f"filename {NAME}"}
    answer = await api.client.post(FILES, headers=headers, content=CONTENT[:100])
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "100")
    place = answer.headers["location"]
    assert (await api.client.head(place, headers=TUS)).headers["upload-defer-length"] == "1"
    assert (await send(api.client, place, 100, CONTENT[100:], upload_length=str(len(CONTENT)))).status_code == 204
    await assert_stored(api.client, place)


async def test_what_arrived_before_the_client_hung_up_is_kept(api: Api) -> None:
    place = await create(api.client)

    async def cut_off() -> AsyncIterator[bytes]:
        yield CONTENT[:1_500_000]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await send(api.client, place, 0, cut_off())

    async def has_arrived() -> bool:
        return await offset_of(api.client, place) == 1_500_000

    await eventually(has_arrived, what="the part that was sent")

    async def sent() -> bool:
        answer = await send(api.client, place, 1_500_000, CONTENT[1_500_000:])
        return answer.status_code == 204

    await eventually(sent, what="the lock of the request that was cut off")
    await assert_stored(api.client, place)


async def sent_in_part(client: httpx.AsyncClient, place: str) -> tuple[asyncio.Task[httpx.Response], asyncio.Event]:
    """A request of which the first part has arrived; the rest follows once the event is set."""
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield CONTENT[:1_200_000]
        await go_on.wait()
        yield CONTENT[1_200_000:]

    request = asyncio.create_task(send(client, place, 0, slowly()))
    await until_it_arrives(client, place)
    return request, go_on


async def test_two_requests_cannot_send_to_one_upload_at_once(api: Api) -> None:
    place = await create(api.client)
    first, go_on = await sent_in_part(api.client, place)
    problem = await send(api.client, place, 0, b"other")
    assert_problem(problem, 423, "upload_locked")
    assert (problem.headers["tus-resumable"], problem.headers["retry-after"]) == ("1.0.0", "1")
    go_on.set()
    assert (await first).status_code == 204
    await assert_stored(api.client, place)


async def test_more_uploads_than_memory_may_hold_are_put_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everpost.files.uploads.MOST_AT_ONCE", 1)
    place, other = await create(api.client), await create(api.client)
    first, go_on = await sent_in_part(api.client, place)
    assert_problem(await send(api.client, other, 0, CONTENT), 503, "unavailable")
    go_on.set()
    assert (await first).status_code == 204
    assert (await send(api.client, other, 0, CONTENT)).status_code == 204


async def test_a_wrong_offset_is_refused_and_told(api: Api) -> None:
    place = await create(api.client)
    await send(api.client, place, 0, CONTENT[:500])
    for offset in (0, 499, 501):
        answer = await send(api.client, place, offset, CONTENT[offset:])
        assert assert_problem(answer, 409, "wrong_offset")["offset"] == 500
        assert answer.headers["upload-offset"] == "500"


async def test_more_bytes_than_the_file_has_are_refused(api: Api) -> None:
    place = await create(api.client)
    assert_problem(await send(api.client, place, 0, CONTENT + b"x"), 413, "body_too_large")
    offset = await offset_of(api.client, place)
    assert (await send(api.client, place, offset, CONTENT[offset:])).status_code == 204
    await assert_stored(api.client, place)


async def test_an_upload_can_be_ended(api: Api) -> None:
    place = await create(api.client)
    await send(api.client, place, 0, CONTENT[:500])
    answer = await api.client.delete(place, headers=TUS)
    assert (answer.status_code, answer.content, answer.headers["tus-resumable"]) == (204, b"", "1.0.0")
    assert_problem(await api.client.get(place), 404, "file_not_found")
    assert list(api.settings.files_root.iterdir()) == []


WRONG_BEGINNINGS: Sequence[Any] = (
    ({"tus-resumable": "0.2.2", "upload-length": "5"}, 412, "unsupported_tus_version"),
    ({"tus-resumable": "1.0.0"}, 422, "invalid_value"),
    ({"tus-resumable": "1.0.0", "upload-length": "-5"}, 422, "invalid_value"),
    ({"tus-resumable": "1.0.0", "upload-length": "9" * 30}, 422, "invalid_value"),
    ({"tus-resumable": "1.0.0", "upload-length": "9" * 15}, 413, "body_too_large"),
    ({"tus-resumable": "1.0.0", "upload-length": "5", "upload-metadata": "filename %"}, 422, "invalid_value"),
    ({"tus-resumable": "1.0.0", "upload-length": "5", "upload-metadata": "x" * 5_000}, 422, "invalid_value"),
)


async def test_a_wrong_beginning_is_refused(api: Api) -> None:
    for headers, status, code in WRONG_BEGINNINGS:
        answer = await api.client.post(FILES, headers=headers)
        assert_problem(answer, status, code)
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert not api.settings.files_root.exists() or list(api.settings.files_root.iterdir()) == []


async def test_a_patch_needs_its_headers(api: Api) -> None:
    place = await create(api.client)
    for without, status in (("tus-resumable", 412), ("content-type", 415), ("upload-offset", 422)):
        headers = {name: value for name, value in {**STREAM, "upload-offset": "0"}.items() if name != without}
        assert (await api.client.patch(place, content=b"x", headers=headers)).status_code == status


@asynccontextmanager
async def api_process(folder: Path, port: int, points: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """An API of its own process, ready."""
    environment = {
        **os.environ,
        "EVERPOST_DATA": str(folder),
        "EVERPOST_PORT": str(port),
        "EVERPOST_REDIS": "redis://127.0.0.1:1",
        "EVERPOST_FAILPOINTS": str(points),
    }
    quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    command = (sys.executable, "-m", "everpost.cli", "api")
    process = await asyncio.create_subprocess_exec(*command, env=environment, **quiet)  # type: ignore[arg-type]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get("/health/live")).is_success
                except httpx.TransportError:
                    return False

            await eventually(is_ready, what="the API")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("", marks=pytest.mark.chaos),
        pytest.param("upload.before_rename", marks=pytest.mark.chaos),
        "upload.before_record",
    ],
)
async def test_an_upload_goes_on_after_the_api_was_killed(tmp_path: Path, unused_tcp_port: int, point: str) -> None:
    points = tmp_path / "points"
    points.mkdir()
    folder, address = tmp_path / "data", f"http://127.0.0.1:{unused_tcp_port}"
    async with api_process(folder, unused_tcp_port, points) as process:
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            place = await create(client)
            assert (await send(client, place, 0, CONTENT[:1_000_000])).status_code == 204
            if point:
                (points / point).write_text("kill")
                with pytest.raises(httpx.TransportError):
                    await send(client, place, 1_000_000, CONTENT[1_000_000:])
            else:

                async def until_killed() -> AsyncIterator[bytes]:
                    yield CONTENT[1_000_000:2_500_000]
                    part = folder / "uploads" / f"{place.rpartition('/')[2]}.part"
                    arrived = lambda: asyncio.to_thread(lambda: part.stat().st_size > 1_000_000)  # noqa: E731 - short
                    await eventually(arrived, what="some more bytes")
                    process.send_signal(signal.SIGKILL)
                    yield CONTENT[2_500_000:]

                with pytest.raises(httpx.TransportError):
                    await send(client, place, 1_000_000, until_killed())
        assert await process.wait() == -signal.SIGKILL
    async with (
        api_process(folder, unused_tcp_port, tmp_path),
        httpx.AsyncClient(base_url=address, timeout=30) as client,
    ):
        offset = await offset_of(client, place)
        assert offset == len(CONTENT) if point else 1_000_000 < offset < len(CONTENT)
        if not point:
            assert (await send(client, place, offset, CONTENT[offset:])).status_code == 204
        await assert_stored(client, place)
        assert [path.suffix for path in (folder / "uploads").iterdir()] == [".bin"]
