"""docs/publishers.md is true: its publisher, installed by its entry point, serves its platform."""

import asyncio
import importlib
import json
import re
import sys
import tomllib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import msgspec
import pytest

from everpost import publishing
from everpost.platforms import Catalogue, Platform
from everpost.publishing import (
    AuthError,
    InvalidError,
    NotFound,
    PublisherClass,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
    TransientError,
)
from everpost.publishing.media import resolve_media
from everpost.publishing.raised import error_class_of
from everpost.settings import Settings
from everpost.task.model import ErrorClass
from everpost_workers.publishers.folder import FolderOptions
from everpost_workers.publishers.registry import load_publishers, opened_publishers
from everpost_workers.publishers.webhook_options import WebhookOptions

DOCUMENT = Path(__file__).parents[2].joinpath("docs", "publishers.md").read_text("utf-8")
CODE, LOOK_UP, UPLOAD = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
SECTION = DOCUMENT.partition("\n## Your own publisher\n")[2].partition("\n## ")[0]
PROJECT, PLATFORMS = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
POST = {"id": "17", "url": "https://mastodon.example/@me/17"}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document's package, as an installer would lay it out."""
    ((name, target),) = tomllib.loads(PROJECT)["project"]["entry-points"]["everpost.publishers"].items()
    module = target.partition(":")[0]
    (tmp_path / f"{module}.py").write_text(CODE, "utf-8")
    metadata = tmp_path / f"{module}-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[everpost.publishers]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()


class Instance:
    """A Mastodon of one route."""

    def __init__(self) -> None:
        self.status = 200
        self.headers = ""
        self.heads: list[str] = []
        self.bodies: list[object] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", head)
        assert length is not None
        self.heads.append(head)
        self.bodies.append(json.loads(await reader.readexactly(int(length[1]))))
        body = json.dumps(POST).encode()
        head = f"HTTP/1.1 {self.status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{self.headers}\r\n"
        writer.write(head.encode() + body)
        writer.close()


@pytest.fixture
async def instance() -> AsyncIterator[Instance]:
    instance = Instance()
    server = await asyncio.start_server(instance.answer, "127.0.0.1", 0)
    instance.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield instance
    server.close()
    await server.wait_closed()


async def publish(folder: Path, instance: Instance, data: Any = MappingProxyType({"title": "测试"})) -> PublishResult:
    path = folder / "platforms.toml"
    path.write_text(PLATFORMS.replace("https://mastodon.example", instance.url), "utf-8")
    catalogue = Catalogue.read(path)
    platform = catalogue.find("toot")
    job = PublishJob(task_id="t1", data=dict(data), platform=platform, idempotency_key="k" * 32)
    async with opened_publishers(load_publishers(catalogue, Settings())) as publishers:
        assert publishers[platform.name].publisher_class is PublisherClass.KEYED
        return await publishers[platform.name].publish(job)


@pytest.mark.usefixtures("installed")
async def test_the_documents_publisher_publishes_with_its_key(tmp_path: Path, instance: Instance) -> None:
    result = await publish(tmp_path, instance)
    assert (result.provider_post_id, result.publish_url) == (POST["id"], POST["url"])
    assert instance.bodies == [{"status": "测试"}]
    assert f"idempotency-key: {'k' * 32}" in instance.heads[0]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("status", "expected"), [(401, AuthError), (422, InvalidError)])
async def test_the_documents_publisher_says_what_a_refusal_means(
    tmp_path: Path, instance: Instance, status: int, expected: type[PublishError]
) -> None:
    instance.status = status
    with pytest.raises(expected):
        await publish(tmp_path, instance)


@pytest.mark.usefixtures("installed")
async def test_the_documents_publisher_waits_as_long_as_the_answer_says(tmp_path: Path, instance: Instance) -> None:
    reset = datetime.now(UTC) + timedelta(minutes=5)
    instance.status = 429
    instance.headers = f"X-RateLimit-Reset: {reset.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}\r\n"
    with pytest.raises(RateLimitedError) as limited:
        await publish(tmp_path, instance)
    assert limited.value.retry_after_s is not None
    assert 200 < limited.value.retry_after_s <= 300


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("data", [{}, {"title": ""}, {"title": None}, {"title": ["a"]}])
async def test_the_documents_publisher_sends_no_task_without_a_title(
    tmp_path: Path, instance: Instance, data: dict[str, Any]
) -> None:
    with pytest.raises(InvalidError, match="no title"):
        await publish(tmp_path, instance, data)
    assert instance.bodies == []


@pytest.mark.usefixtures("installed")
async def test_the_documents_publisher_tries_again_later_if_the_connection_is_refused(
    tmp_path: Path, instance: Instance
) -> None:
    instance.url = "http://127.0.0.1:1"
    with pytest.raises(TransientError):
        await publish(tmp_path, instance)


@pytest.mark.usefixtures("installed")
async def test_a_failure_it_does_not_foresee_is_tried_again_with_the_same_key(
    tmp_path: Path, instance: Instance
) -> None:
    instance.status = 500
    with pytest.raises(Exception, match="500") as caught:
        await publish(tmp_path, instance)
    assert error_class_of(caught.value, PublisherClass.KEYED) is ErrorClass.UNKNOWN


@pytest.mark.parametrize(
    ("status", "posts", "expected"),
    [
        (200, [{"id": "17"}], PublishResult(provider_post_id="17")),
        (200, [], NotFound.NOT_FOUND),
        (503, [], NotFound.NO_VERDICT),
    ],
)
async def test_the_documents_look_up_has_a_post_or_none_or_no_verdict(
    status: int, posts: list[Any], expected: PublishResult | NotFound
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["marker"] == "k" * 32
        return httpx.Response(status, json=posts)

    names: dict[str, Any] = {**vars(publishing)}
    exec(f"class Documented:\n{LOOK_UP}", names)
    publisher = names["Documented"]()
    publisher.client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://example.test")
    job = PublishJob(task_id="t", data={}, platform=Catalogue.read(None).find(1), idempotency_key="k" * 32)
    async with publisher.client:
        assert await publisher.look_up(job) == expected


class Uploads:
    """A platform with resumable uploads: it cuts the connection once, amid the second part."""

    def __init__(self) -> None:
        self.sessions: list[bytes] = []
        self.posts: list[str] = []
        self.cuts = 1

    def answer(self, request: httpx.Request) -> httpx.Response:
        match request.method, request.url.path:
            case "POST", "/uploads":
                self.sessions.append(b"")
                return httpx.Response(201, headers={"Location": f"/uploads/{len(self.sessions)}"})
            case "POST", "/posts":
                self.posts.append(json.loads(request.content)["upload"])
                return httpx.Response(201, json={"id": "17"})
        number = int(request.url.path.rpartition("/")[2]) - 1
        if request.method == "PATCH":
            if self.sessions[number] and self.cuts:
                self.cuts -= 1
                raise httpx.ReadError("cut")
            assert int(request.headers["Upload-Offset"]) == len(self.sessions[number])
            self.sessions[number] += request.content
        return httpx.Response(200, headers={"Upload-Offset": str(len(self.sessions[number]))})


async def test_the_documents_upload_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"0123456789")

    def read_part(media: Any, sent: int) -> bytes:
        with media.open_file() as file:
            file.seek(sent)
            return bytes(file.read(4))

    names: dict[str, Any] = {**vars(publishing), "asyncio": asyncio, "read_part": read_part}
    exec(f"class Documented:\n{UPLOAD}", names)
    publisher, platform = names["Documented"](), Uploads()
    media = await resolve_media({"file_path": "video.mp4"}, tmp_path, 1_000)
    job = PublishJob(task_id="t", data={}, platform=Catalogue.read(None).find(1), idempotency_key="k", media=media)
    publisher.client = httpx.AsyncClient(
        transport=httpx.MockTransport(platform.answer), base_url="https://example.test"
    )
    async with publisher.client:
        with pytest.raises(httpx.ReadError):
            await publisher.publish(job)
        again = msgspec.structs.replace(job, attempt=2)
        assert await publisher.publish(again) == PublishResult(provider_post_id="17")
    assert (platform.sessions, platform.posts) == ([b"0123456789"], ["/uploads/1"])


@pytest.mark.parametrize(("heading", "options"), [("folder", FolderOptions), ("webhook", WebhookOptions)])
def test_the_document_has_every_option_and_no_other(heading: str, options: type[msgspec.Struct]) -> None:
    section = DOCUMENT.partition(f"## `{heading}`")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(options.__struct_fields__)


def test_the_document_has_every_field_of_a_platform_and_no_other() -> None:
    section = DOCUMENT.partition("\n### ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted([*documented, "name", "internal"]) == sorted(Platform.__struct_fields__)


def test_the_document_has_every_class_and_every_error() -> None:
    for publisher_class in PublisherClass:
        assert f"| `{publisher_class.name}`" in DOCUMENT
    for error in PublishError.__subclasses__():
        assert f"| `{error.__name__}" in DOCUMENT
