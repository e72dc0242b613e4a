"""The publisher `bluesky` against the real PDS."""

import asyncio
import itertools
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from everpost.clock import system_clock
from everpost.demo.pds import Pds
from everpost.platforms import Catalogue
from everpost.publishing import (
    AuthError,
    InvalidError,
    NotFound,
    OutcomeUnknownError,
    PublishJob,
    PublishResult,
    Settings,
    TransientError,
)
from everpost.task.model import new_task_id
from everpost.testing import AccountDouble
from everpost.testing.trial import try_publisher
from everpost_workers.publishers.bluesky.publisher import BlueskyPublisher
from publisher_kit import CuttingProxy, error_from, media_file, new_key, register

pytestmark = pytest.mark.peer


OPTIONS = {"video_service": "", "allow_http": True, "allow_private": True}

_numbers = itertools.count(1)


@pytest.fixture
async def alice(pds: Pds) -> AccountDouble:
    name = f"alice{next(_numbers)}"
    did, password = await pds.create_account(name)
    return AccountDouble(did, {"password": password}, {"identifier": f"{name}.test", "service": pds.url})


@pytest.fixture
async def publisher() -> AsyncIterator[BlueskyPublisher]:
    publisher = BlueskyPublisher(OPTIONS, Settings())
    yield publisher
    await publisher.close()


def job_of(account: AccountDouble, **more: Any) -> PublishJob:
    given = {"data": {"title": "Hello"}, "idempotency_key": "5" * 32, "task_id": new_task_id(system_clock()), **more}
    return PublishJob(platform=Catalogue.read().find("bluesky"), account=account, **given)


async def head_of(pds: Pds, did: str) -> str:
    """The latest commit of a repository."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{pds.url}/xrpc/com.atproto.sync.getLatestCommit", params={"did": did})
    return str(answer.json()["rev"])


async def test_a_post_with_links_mentions_tags_languages_and_labels_is_taken(
    pds: Pds, alice: AccountDouble, publisher: BlueskyPublisher
) -> None:
    bob, _ = await pds.create_account("bob")
    data = {
        "text": "👩‍👩‍👧 测试 @bob.test and @nobody.test: https://a.example/路径?x=1. #tag",
        "languages": ["zh-Hans", "en"],
        "labels": ["nudity"],
    }
    result = await publisher.publish(job_of(alice, data=data))
    (post,) = await pds.posts_of(alice.id)
    assert (post["uri"], post["cid"]) == (result.provider_post_id, result.detail["cid"])
    value, text = post["value"], data["text"].encode()  # type: ignore[attr-defined]  # it is a text
    marked = [
        (text[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode(), facet["features"][0])
        for facet in value["facets"]
    ]
    assert [(part, feature.get("did") or feature.get("uri") or feature.get("tag")) for part, feature in marked] == [
        ("@bob.test", bob),
        ("https://a.example/路径?x=1", "https://a.example/路径?x=1"),
        ("#tag", "tag"),
    ]
    assert value["langs"] == ["zh-Hans", "en"]
    assert value["labels"]["values"] == [{"val": "nudity"}]


async def test_the_same_task_again_is_answered_with_the_same_post_and_makes_no_commit(
    pds: Pds, alice: AccountDouble, publisher: BlueskyPublisher
) -> None:
    job = job_of(alice)
    first = await publisher.publish(job)
    head = await head_of(pds, alice.id)
    again = job_of(alice, task_id=job.task_id, saved=job.saved, attempt=2)
    assert await publisher.publish(again) == first
    without_checkpoint = job_of(alice, task_id=job.task_id, attempt=3)
    assert (await publisher.publish(without_checkpoint)).provider_post_id == first.provider_post_id
    assert await head_of(pds, alice.id) == head
    assert len(await pds.posts_of(alice.id)) == 1
    assert await publisher.look_up(job) == first
    assert await publisher.look_up(job_of(alice, idempotency_key="6" * 32)) is NotFound.NOT_FOUND


async def test_images_and_a_video_are_embedded_with_their_descriptions(
    pds: Pds, alice: AccountDouble, publisher: BlueskyPublisher, tmp_path: Path
) -> None:
    images = tuple(
        media_file(tmp_path, f"{name}.png", png(shade), "image/png", alt=f"a {name} square")
        for name, shade in (("black", 0), ("white", 255))
    )
    await publisher.publish(job_of(alice, files=images))
    video = media_file(tmp_path, "v.mp4", b"\0\0\0\x18ftypmp42" + b"\0" * 2_000_000, "video/mp4", alt="nothing moves")
    await publisher.publish(job_of(alice, files=(video,), idempotency_key="6" * 32))
    embeds = {post["value"]["embed"]["$type"]: post["value"]["embed"] for post in await pds.posts_of(alice.id)}
    shown = embeds["app.bsky.embed.images"]["images"]
    assert [(image["alt"], image["image"]["size"]) for image in shown] == [
        (media.alt, media.size_bytes) for media in images
    ]
    moving = embeds["app.bsky.embed.video"]
    assert (moving["alt"], moving["video"]["size"], moving["video"]["mimeType"]) == (
        "nothing moves",
        video.size_bytes,
        "video/mp4",
    )


async def test_what_the_real_server_refuses_is_invalid(
    alice: AccountDouble, publisher: BlueskyPublisher, tmp_path: Path
) -> None:
    text = "x" * 301
    with pytest.raises(InvalidError, match="300 characters"):
        await publisher.publish(job_of(alice, data={"text": text}))
    too_large = media_file(tmp_path, "v.mp4", b"\0\0\0\x18ftypmp42" + b"\0" * 25_000_000, "video/mp4")
    with pytest.raises(InvalidError, match=r"413|too large|Large"):
        await publisher.publish(job_of(alice, files=(too_large,)))


async def test_workers_share_a_session_and_refresh_it_once(pds: Pds, alice: AccountDouble) -> None:
    workers = [BlueskyPublisher(OPTIONS, Settings()) for _ in range(3)]
    try:
        for number, worker in enumerate(workers):
            await worker.publish(job_of(alice, idempotency_key=f"{number:032x}"))
        assert alice._version == 1
        for worker in workers:  # as if the access token had ended
            sessions = worker._poster.opened._sessions._by_account  # type: ignore[union-attr]  # it is open
            sessions[alice.id] = msgspec.structs.replace(sessions[alice.id], access="ended")
        alice.rotate(access_jwt="ended")
        jobs = [job_of(alice, idempotency_key=f"{number:032x}") for number in range(10, 19)]
        await asyncio.gather(*(workers[number % 3].publish(job) for number, job in enumerate(jobs)))
    finally:
        for worker in workers:
            await worker.close()
    assert alice._version == 2 + 1  # the one above is the third
    assert len(await pds.posts_of(alice.id)) == 12


async def test_a_wrong_password_is_an_auth_error_and_a_right_one_is_checked(
    pds: Pds, alice: AccountDouble, publisher: BlueskyPublisher
) -> None:
    assert await publisher.check_account(alice) == f"{alice.options['identifier']} ({alice.id})"
    alice.rotate(password="wrong")
    with pytest.raises(AuthError):
        await publisher.check_account(alice)


async def test_a_connection_to_the_real_server_that_breaks_makes_no_second_post(
    pds: Pds, alice: AccountDouble, publisher: BlueskyPublisher, tmp_path: Path
) -> None:
    files = (media_file(tmp_path, "a.png", png(9), "image/png"),)
    await publisher.publish(job_of(alice, idempotency_key="f" * 32))
    async with CuttingProxy(pds.port).serve() as proxy:
        sessions = publisher._poster.opened._sessions._by_account  # type: ignore[union-attr]  # it is open
        sessions[alice.id] = msgspec.structs.replace(sessions[alice.id], pds=proxy.url)
        proxy.cut_after(None)
        await publisher.publish(job_of(alice, files=files, idempotency_key="e" * 32))
        cuts = range(0, proxy.passed, 61)
        for number, cut in enumerate(cuts):
            job = job_of(alice, files=files, idempotency_key=f"{number:032x}")
            proxy.cut_after(cut)
            error = await error_from(publisher.publish(job))
            assert error is None or isinstance(error, TransientError | OutcomeUnknownError), (cut, error)
            proxy.cut_after(None)
            again = job_of(
                alice, files=files, idempotency_key=job.idempotency_key, task_id=job.task_id, saved=job.saved
            )
            assert isinstance(await publisher.publish(again), PublishResult)
    keys = {post["uri"] for post in await pds.posts_of(alice.id)}
    assert len(keys) == min(100, len(cuts) + 2)


async def test_the_publisher_keeps_its_class_at_every_step_with_the_real_server(
    pds: Pds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did, password = await pds.create_account("tried")
    monkeypatch.setenv("EVERPOST_ACCOUNT_TRIAL", password)
    (tmp_path / "a.png").write_bytes(png(7))

    async def texts() -> list[str]:
        return [post["value"]["text"] for post in await pds.posts_of(did)]

    report = await try_publisher(
        BlueskyPublisher,
        posts=texts,
        platform_at=("127.0.0.1", pds.port),
        options=lambda address: {"service": f"http://{address}", "pds": f"http://{address}", **OPTIONS},
        fields={"account_id": "tried.test", "file_path": "a.png"},
        prepare=register("password", "tried.test"),
        media=tmp_path,
        secret_key=new_key(),
    )
    report.check()


def png(shade: int) -> bytes:
    """A picture of 8 x 8 grey pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack("!I", len(content)) + kind + content + struct.pack("!I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes([shade] * 8) for _ in range(8))
    head = struct.pack("!IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
