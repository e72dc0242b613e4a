"""Everpost's publishers under trial: killed, stopped, frozen and cut off at every step, with no post twice."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from everpost.testing import Stack
from everpost.testing.trial import Fault, try_publisher
from publisher_kit import HttpDouble, Request, Response
from youtube_double import CLIENT, YouTube

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores")]

KEY = f"{'k' * 43}="
VIDEO = bytes(300_000)  # two parts, of 256 KB at most
IMAGE = b"\x89PNG\r\n\x1a\n" + b"x" * 200
UPLOADER = """
read -r task; title=$(printf '%s' "$task" | grep -o 'trial [0-9a-f]*')
echo '{"type":"checkpoint","data":1}'; read -r saved <&3
sleep 0.3; echo "$title" >> posts; sleep 0.3
echo '{"type":"result"}'
"""
LOOK_UP = """
read -r task; title=$(printf '%s' "$task" | grep -o 'trial [0-9a-f]*')
if grep -q "$title" posts; then echo '{"type":"result"}'; else echo '{"type":"not_found"}'; fi
"""


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(VIDEO)
    (folder / "cover.png").write_bytes(IMAGE)
    return folder


@pytest.fixture
async def youtube() -> AsyncIterator[YouTube]:
    youtube = YouTube()
    async with youtube.serve():
        yield youtube


async def test_a_video_is_on_youtube_once_with_its_thumbnail_in_its_playlist_whatever_happens(
    youtube: YouTube, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CLIENT.items():
        monkeypatch.setenv(f"EVERPOST_ACCOUNT_{name.upper()}", value)

    async def add_account(stack: Stack) -> None:
        credentials = {name: f"env:EVERPOST_ACCOUNT_{name.upper()}" for name in CLIENT}
        body = {"platform": "trial", "account_id": "account", "credentials": credentials}
        answer = await stack.client.post("/api/v1/accounts", json=body)
        assert answer.status_code == 201, answer.text

    def options(address: str) -> Mapping[str, Any]:
        return {"api_url": f"http://{address}", "token_url": f"http://{address}/token", "chunk_kb": 256}

    async def videos() -> list[str]:
        return [video["snippet"]["title"] for video in youtube.videos]

    report = await try_publisher(
        "youtube",
        posts=videos,
        options=options,
        platform_at=("127.0.0.1", youtube.http.port),
        fields={"files": [{"file_path": "clip.mp4"}, {"file_path": "cover.png"}], "playlist": "PL1"},
        prepare=add_account,
        media=media,
        cuts=1,  # the publisher's own tests cut at every byte
        secret_key=KEY,
        max_attempts=6,
    )
    report.check()
    assert {finding.step.fault for finding in report.findings} >= set(Fault) - {Fault.KILL_AMID}
    made = {video["id"] for video in youtube.videos}
    assert youtube.thumbnails == dict.fromkeys(made, IMAGE)
    assert Counter(youtube.playlists) == Counter(("PL1", video) for video in made)


@pytest.mark.parametrize("look_up", [LOOK_UP, None], ids=["checkable", "none"])
async def test_a_program_posts_once_whatever_happens(tmp_path: Path, look_up: str | None) -> None:
    posts = tmp_path / "posts"
    posts.touch()
    options: dict[str, Any] = {"command": ["/bin/sh", "-c", UPLOADER.replace(">> posts", f">> {posts}")], "grace_s": 0}
    if look_up is not None:
        options["look_up"] = ["/bin/sh", "-c", look_up.replace(" posts;", f" {posts};")]

    async def posted() -> list[str]:
        return posts.read_text("utf-8").splitlines()

    report = await try_publisher("command", posts=posted, options=options)
    report.check()
    assert {finding.step.fault for finding in report.findings} >= {Fault.KILL_AMID, Fault.FREEZE_AT_CHECKPOINT}


async def test_a_webhook_with_its_files_is_received_once_whatever_happens(media: Path) -> None:
    received: dict[str, bytes] = {}

    def accept(request: Request) -> Response:
        parts = request.parts()
        assert parts["file-1"] == VIDEO
        kept = received.setdefault(request.headers["idempotency-key"], request.body)
        assert kept == request.body, "a repetition has the same bytes"
        return Response(200, {"id": "p1"})

    async def posts() -> list[str]:
        return [body.decode("latin-1") for body in received.values()]

    async with HttpDouble(accept).serve() as receiver:
        report = await try_publisher(
            "webhook",
            posts=posts,
            options=lambda address: {
                "url": f"http://{address}/",
                "allow_http": True,
                "allow_private": True,
                "media": "multipart",
            },
            platform_at=("127.0.0.1", receiver.port),
            fields={"file_path": "clip.mp4"},
            media=media,
        )
    report.check()


async def test_a_webhook_that_gets_addresses_of_its_files_is_received_once_whatever_happens(media: Path) -> None:
    """The receiver downloads each file without a token, from the address that the task brings, before it answers."""
    received: dict[str, dict[str, Any]] = {}
    running: list[Stack] = []
    uploaded: list[str] = []

    async def upload(stack: Stack) -> None:
        running.append(stack)
        answer = await stack.client.post("/api/v1/files", content=VIDEO, params={"filename": "clip.mp4"})
        uploaded.append(answer.json()["file_id"])

    async def accept(request: Request) -> Response:
        body = request.json()
        link = urlsplit(body["media"].pop("url"))
        transport = httpx.ASGITransport(app=running[0].app)  # type: ignore[arg-type]  # as in everpost.testing
        async with httpx.AsyncClient(transport=transport, base_url="https://posts.example.org") as stranger:
            file = await stranger.get(f"{link.path}?{link.query}")
        assert (file.status_code, file.content) == (200, VIDEO)
        assert body["media"]["sha256"] == hashlib.sha256(VIDEO).hexdigest()
        kept = received.setdefault(request.headers["idempotency-key"], body)
        assert kept == body, "a repetition says the same"
        return Response(200, {"id": "p1"})

    async def posts() -> list[str]:
        return [body["data"]["title"] for body in received.values()]

    async with HttpDouble(accept).serve() as receiver:
        report = await try_publisher(
            "webhook",
            posts=posts,
            options=lambda address: {
                "url": f"http://{address}/",
                "allow_http": True,
                "allow_private": True,
                "media": "url",
            },
            platform_at=("127.0.0.1", receiver.port),
            fields=lambda _: {"file_id": uploaded[0]},
            prepare=upload,
            media=media,
            token="the-token-of-this-api",
            secret_key=KEY,
            public_url="https://posts.example.org",
        )
    report.check()
    assert {finding.step.fault for finding in report.findings} >= {Fault.KILL_AFTER_REQUEST, Fault.LATE_ANSWER}
