"""How the files of a task reach a webhook's receiver: described, or in the request."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook

from command_kit import KEY, SETTINGS, KeptCheckpoints, job_of
from everpost.errors import SettingsError
from everpost.files.links import FileLinks
from everpost.publishing import InvalidError, OutcomeUnknownError, TransientError
from everpost.settings import Settings
from everpost.testing import everpost_stack
from everpost_workers.publishers.webhook import WebhookPublisher
from everpost_workers.publishers.webhook_body import PIECE_BYTES
from publisher_kit import CuttingProxy, HttpDouble, Request, Response, error_from, media_file

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW_KEY, OLD_KEY = f"{'n' * 43}=", f"{'o' * 43}="
NOW_S = [1_800_000_000]
VIDEO = bytes(range(256)) * (PIECE_BYTES // 128)  # two pieces


def accept(_: Request) -> Response:
    return Response(200, {"id": "p1"})


@asynccontextmanager
async def receiver() -> AsyncIterator[HttpDouble]:
    async with HttpDouble(accept).serve() as double:
        yield double


@asynccontextmanager
async def publisher_at(url: str, **options: Any) -> AsyncIterator[WebhookPublisher]:
    given = {"url": f"{url}/hook", "allow_http": True, "allow_private": True, "secret": SECRET, **options}
    publisher = WebhookPublisher(given, SETTINGS)
    await publisher.open()
    try:
        yield publisher
    finally:
        await publisher.close()


async def test_files_come_with_the_task_and_the_signed_part_has_their_digests(tmp_path: Path) -> None:
    files = (
        media_file(tmp_path, 'a"\r\n.MP4', VIDEO, "video/mp4", alt="A clip"),
        media_file(tmp_path, "b", b"text", "text/plain\r\nX: y"),
    )
    async with receiver() as double, publisher_at(double.url, media="multipart") as publisher:
        assert (await publisher.publish(job_of(files=files))).provider_post_id == "p1"
    (request,) = double.requests
    parts = request.parts()
    assert set(parts) == {"task", "file-1", "file-2"}
    assert (parts["file-1"], parts["file-2"]) == (VIDEO, b"text")
    task = Webhook(SECRET).verify(parts["task"], request.headers)
    assert task["media"] == task["files"][0]
    assert task["files"] == [
        {
            "filename": 'a"\r\n.MP4',
            "content_type": "video/mp4",
            "size_bytes": len(VIDEO),
            "alt": "A clip",
            "sha256": hashlib.sha256(VIDEO).hexdigest(),
            "part": "file-1",
        },
        {
            "filename": "b",
            "content_type": "text/plain\r\nX: y",
            "size_bytes": 4,
            "sha256": hashlib.sha256(b"text").hexdigest(),
            "part": "file-2",
        },
    ]
    assert b'name="file-1"; filename="file-1.mp4"\r\nContent-Type: video/mp4\r\n\r\n' in request.body
    assert b'name="file-2"; filename="file-2"\r\nContent-Type: application/octet-stream\r\n\r\n' in request.body


async def test_a_repetition_sends_the_same_bytes(tmp_path: Path) -> None:
    job = job_of(files=(media_file(tmp_path, "a.mp4", VIDEO, "video/mp4"),))
    async with receiver() as double, publisher_at(double.url, media="multipart") as publisher:
        await publisher.publish(job)
        await publisher.publish(msgspec.structs.replace(job, attempt=2))
    first, second = double.requests
    assert first.body == second.body
    assert first.headers["content-type"] == second.headers["content-type"]


async def test_a_task_without_files_is_plain_json(tmp_path: Path) -> None:
    async with receiver() as double, publisher_at(double.url, media="multipart") as publisher:
        await publisher.publish(job_of())
    assert double.requests[0].headers["content-type"] == "application/json"
    assert json.loads(double.requests[0].body) == {"task_id": "t1", "platform": "douyin", "data": {"title": "测试"}}


async def test_several_files_are_described_and_one_is_as_before(tmp_path: Path) -> None:
    one = media_file(tmp_path, "a.mp4", b"x", "video/mp4")
    other = media_file(tmp_path, "b.mp4", b"yy", "video/mp4", sha256="d" * 64)
    described = {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": 1}
    async with receiver() as double, publisher_at(double.url) as publisher:
        await publisher.publish(job_of(files=(one,)))
        await publisher.publish(job_of(files=(one, other)))
    first, second = (json.loads(request.body) for request in double.requests)
    assert first["media"] == described
    assert "files" not in first
    more = {"filename": "b.mp4", "content_type": "video/mp4", "size_bytes": 2, "sha256": "d" * 64}
    assert (second["media"], second["files"]) == (described, [described, more])


async def test_a_file_that_shrinks_while_it_is_sent_is_no_post(tmp_path: Path) -> None:
    file = media_file(tmp_path, "a.mp4", VIDEO, "video/mp4", sha256="0" * 64)
    file.path.write_bytes(b"short")
    async with receiver() as double, publisher_at(double.url, media="multipart") as publisher:
        with pytest.raises(TransientError, match="truncated"):
            await publisher.publish(job_of(files=(file,)))
        file.path.unlink()
        with pytest.raises(InvalidError, match="not found"):
            await publisher.publish(job_of(files=(file,)))
    assert double.requests == []


async def test_a_receiver_that_stops_reading_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1_000)
        writer.transport.abort()

    server = await asyncio.start_server(stop, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    file = media_file(tmp_path, "a.mp4", VIDEO * 8, "video/mp4")
    async with publisher_at(url, media="multipart") as publisher:
        with pytest.raises(OutcomeUnknownError):
            await publisher.publish(job_of(files=(file,), idempotency_key=KEY))
    server.close()


async def cut_at_each(folder: Path, step: int) -> None:
    """Break the connection after every so many bytes; send again until there is an answer: each time the same bytes."""
    files = (media_file(folder, "a.mp4", bytes(500), "video/mp4"),)
    async with (
        receiver() as double,
        CuttingProxy(double.port).serve() as proxy,
        publisher_at(proxy.url, media="multipart") as publisher,
    ):
        proxy.cut_after(None)
        await publisher.publish(job_of(files=files))
        length, first = proxy.passed, double.requests[0]
        assert length > 1_000
        for cut in range(0, length, step):
            proxy.cut_after(cut)
            double.requests.clear()
            error = await error_from(publisher.publish(job_of(files=files)))
            assert error is None or type(error) in {TransientError, OutcomeUnknownError}, (cut, error)
            assert isinstance(error, OutcomeUnknownError) or not (error and double.requests), cut
            proxy.cut_after(None)
            if error is not None:
                assert (await publisher.publish(job_of(files=files))).provider_post_id == "p1"
            keys = {(request.headers["idempotency-key"], request.body) for request in double.requests}
            assert keys == {(first.headers["idempotency-key"], first.body)}, cut


async def test_a_connection_that_breaks_repeats_the_same_bytes_with_the_same_key(tmp_path: Path) -> None:
    await cut_at_each(tmp_path, step=197)


@pytest.mark.chaos
async def test_a_connection_that_breaks_at_any_byte_repeats_the_same_bytes_with_the_same_key(tmp_path: Path) -> None:
    await cut_at_each(tmp_path, step=1)


def test_a_wrong_way_for_files_is_named() -> None:
    with pytest.raises(SettingsError, match="media"):
        WebhookPublisher({"url": "https://example.org", "media": "pigeon"}, SETTINGS)
    with pytest.raises(SettingsError, match="needs EVERPOST_SECRET_KEY and EVERPOST_PUBLIC_URL"):
        WebhookPublisher({"url": "https://example.org", "media": "url"}, SETTINGS)


def linking(url: str) -> WebhookPublisher:
    given = {"url": url, "allow_http": True, "allow_private": True, "media": "url", "url_lifetime_s": 100}
    settings = Settings(secret_key=NEW_KEY, public_url="https://posts.example.org/everpost/")
    return WebhookPublisher(given, settings, clock=lambda: NOW_S[0] * 1000)


@pytest.fixture(autouse=True)
def now() -> None:
    NOW_S[0] = 1_800_000_000


async def test_an_address_is_the_same_in_a_repetition_as_long_as_it_is_valid(tmp_path: Path) -> None:
    files = (media_file(tmp_path, "a.mp4", b"x", "video/mp4", file_id="f" * 32),)
    job = job_of(files=files, keeper=KeptCheckpoints())
    async with receiver() as double:
        publisher = linking(double.url)
        await publisher.open()
        for NOW_S[0] in (1_800_000_000, 1_800_000_060, 1_800_000_080):
            await publisher.publish(job)
        await publisher.close()
    first, second, third = (json.loads(request.body)["media"]["url"] for request in double.requests)
    assert first.startswith(f"https://posts.example.org/everpost/api/v1/files/{'f' * 32}/content?expires=1800000100&")
    assert first == second
    assert "expires=1800000180" in third


async def test_a_file_without_an_id_has_no_address(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="file_id"):
        await linking("http://127.0.0.1:1").publish(job_of(files=(media_file(tmp_path, "a.mp4", b"x", "video/mp4"),)))


def test_only_the_address_that_was_signed_is_valid_and_only_for_its_time() -> None:
    link = urlsplit(FileLinks(f"{NEW_KEY},{OLD_KEY}", "https://example.org").link("a" * 32, 1_800_000_100))
    given = dict(parse_qsl(link.query))
    expires, signature = given["expires"], given["signature"]

    def is_valid(keys: str | None, file_id: str, expires: str, signature: str, now_s: int = 1_800_000_000) -> bool:
        return FileLinks(keys, None).is_valid(file_id, expires, signature, now_s * 1000)

    assert is_valid(NEW_KEY, "a" * 32, expires, signature)
    assert is_valid(f"{OLD_KEY}, {NEW_KEY}", "a" * 32, expires, signature), "a rotated key still checks"
    assert not is_valid(OLD_KEY, "a" * 32, expires, signature)
    assert not is_valid(None, "a" * 32, expires, signature)
    assert not is_valid(NEW_KEY, "b" * 32, expires, signature)
    assert not is_valid(NEW_KEY, "a" * 32, "1800000101", signature)
    assert not is_valid(NEW_KEY, "a" * 32, expires, signature[:-1])
    assert not is_valid(NEW_KEY, "a" * 32, expires, signature, now_s=1_800_000_100)
    for odd in ("", "soon", "²", "-1", "9" * 40):
        assert not is_valid(NEW_KEY, "a" * 32, odd, signature)


@pytest.mark.parametrize("token", ["the-token-of-this-api", None])
async def test_a_receiver_downloads_the_file_without_a_token(token: str | None) -> None:
    url = "https://posts.example.org"
    async with everpost_stack(workers=0, token=token, secret_key=NEW_KEY, public_url=url) as stack:
        answer = await stack.client.post("/api/v1/files", content=VIDEO, params={"filename": "a.bin"})
        file_id = answer.json()["file_id"]
        link = FileLinks(NEW_KEY, "").link(file_id, int(time.time()) + 60)
        foreign = {"Host": "posts.example.org"}
        async with httpx.AsyncClient(transport=stack.client._transport, base_url=url, headers=foreign) as stranger:
            found = await stranger.get(link)
            assert (found.status_code, found.content) == (200, VIDEO)
            part = await stranger.get(link, headers={"Range": "bytes=1-3"})
            assert (part.status_code, part.content) == (206, VIDEO[1:4])
            for wrong in (
                link[:-1] + "x",
                link.replace("expires=", "expires=1"),
                f"{link.partition('&')[0]}&signature=",
            ):
                refused = await stranger.get(wrong)
                assert (refused.status_code, refused.json()["code"]) == (403, "link_refused")
            without = await stranger.get(link.partition("?")[0])
            assert without.json()["code"] == ("unauthorized" if token else "foreign_host")
            elsewhere = await stranger.get(f"/api/v1/files/{file_id}?{link.partition('?')[2]}")
            assert elsewhere.status_code in {401, 403, 422}
