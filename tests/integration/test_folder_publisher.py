"""The folder publisher on a real file system: whole or not at all, once a key, and nowhere else."""

import asyncio
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.platforms import Catalogue
from service.settings import Settings, temporary_settings
from workers.media import Media, resolve_media
from workers.publishers import folder
from workers.publishers.base import (
    InvalidError,
    PermanentError,
    PublishError,
    PublishJob,
    TransientError,
    idempotency_key,
)
from workers.publishers.folder import FolderPublisher

DOUYIN = Catalogue.read().find("douyin")
DATA = {"platform": 3, "title": "测试视频", "tags": ["测试"], "unheard_of": {"deep": [1, None]}}
NOW_MS = 1_767_225_600_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        self.now_ms += 1000
        return self.now_ms


@pytest.fixture
def everpost(tmp_path: Path) -> Settings:
    return temporary_settings(tmp_path)


@pytest.fixture
def publisher(everpost: Settings) -> FolderPublisher:
    return FolderPublisher({}, everpost, Clock())


@pytest.fixture
def posts(everpost: Settings) -> Path:
    return everpost.published_root / "douyin"


def make_job(
    data: Mapping[str, Any] = DATA, *, generation: int = 0, attempt: int = 1, media: Media | None = None
) -> PublishJob:
    key = idempotency_key("root", generation)
    return PublishJob(task_id="t1", data=data, platform=DOUYIN, attempt=attempt, idempotency_key=key, media=media)


async def make_media(everpost: Settings, name: str = "clip.MP4", content: bytes = b"film") -> Media:
    file = everpost.media_root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    media = await resolve_media({"file_path": name}, everpost.media_root)
    assert media is not None
    return media


def read_metadata(post: Path) -> Any:
    return json.loads((post / "metadata.json").read_text("utf-8"))


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def list_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_post_is_a_folder_with_the_whole_task_readable(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    result = await publisher.publish(make_job(media=await make_media(everpost)))
    post = posts / idempotency_key("root", 0)
    assert result.provider_post_id == post.name
    assert result.publish_url is not None
    assert Path(urlparse(result.publish_url).path) == post
    assert result.detail == {"media": "clip.MP4"}
    assert read_metadata(post) == {
        "task_id": "t1",
        "platform": "douyin",
        "published_at": "2026-01-01T00:00:01.000Z",
        "media": {"file": "media.mp4", "filename": "clip.MP4", "content_type": "video/mp4", "size_bytes": 4},
        "data": DATA,
    }
    assert "测试视频" in (post / "metadata.json").read_text("utf-8")
    assert (post / "media.mp4").read_bytes() == b"film"
    assert list_names(posts) == [post.name]


async def test_an_unknown_file_id_is_published_as_metadata_and_says_so(publisher: FolderPublisher) -> None:
    result = await publisher.publish(make_job({"file_id": 123}))
    assert result.detail == {"media": "none: file_id 123 is unknown, published as metadata only"}


async def test_a_rerun_leaves_the_finished_post_alone(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    media = await make_media(everpost)
    first = await publisher.publish(make_job(media=media))
    inode = (posts / idempotency_key("root", 0) / "metadata.json").stat().st_ino
    assert await publisher.publish(make_job(attempt=2, media=media)) == first
    assert (posts / idempotency_key("root", 0) / "metadata.json").stat().st_ino == inode


async def test_a_rerun_replaces_a_post_with_other_content(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    await publisher.publish(make_job(media=await make_media(everpost)))
    await publisher.publish(make_job(attempt=2, media=await make_media(everpost, content=b"FILM")))
    post = posts / idempotency_key("root", 0)
    assert (post / "media.mp4").read_bytes() == b"FILM"
    await publisher.publish(make_job({"title": "other"}, attempt=3))
    assert list_names(post) == ["metadata.json"]
    assert read_metadata(post)["data"] == {"title": "other"}
    assert list_names(posts) == [post.name]


async def test_a_deliberate_retry_makes_a_post_of_its_own(publisher: FolderPublisher, posts: Path) -> None:
    await publisher.publish(make_job())
    await publisher.publish(make_job(generation=1))
    assert list_names(posts) == sorted([idempotency_key("root", 0), idempotency_key("root", 1)])


async def test_simultaneous_attempts_of_one_key_make_one_whole_post(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    media = await make_media(everpost, content=b"x" * 3_000_000)
    attempts = [publisher.publish(make_job(attempt=number, media=media)) for number in range(1, 9)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert any(not isinstance(result, BaseException) for result in results)
    assert all(isinstance(result, TransientError) for result in results if isinstance(result, BaseException))
    await publisher.publish(make_job(attempt=9, media=media))
    post = posts / idempotency_key("root", 0)
    assert list_names(posts) == [post.name]
    assert (post / "media.mp4").stat().st_size == 3_000_000


@pytest.mark.parametrize("moment", ["_copy_media", "_sync_folder", "_move_into_place"])
async def test_an_attempt_that_fails_half_way_leaves_nothing(
    publisher: FolderPublisher, everpost: Settings, posts: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def fill_the_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    media = await make_media(everpost)
    with monkeypatch.context() as patch:
        patch.setattr(folder, moment, fill_the_disk)
        with pytest.raises(TransientError, match="No space left"):
            await publisher.publish(make_job(media=media))
    assert list_names(posts) == []
    await publisher.publish(make_job(attempt=2, media=media))


async def test_what_a_crash_left_is_removed_by_the_rerun(publisher: FolderPublisher, posts: Path) -> None:
    key = idempotency_key("root", 0)
    (posts / f".{key}.crashed").mkdir(parents=True)
    (posts / f".{key}.crashed" / "media.mp4").write_bytes(b"half")
    await publisher.publish(make_job(attempt=2))
    assert list_names(posts) == [key]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, TransientError),
        (errno.EDQUOT, TransientError),
        (errno.EIO, TransientError),
        (errno.EMFILE, TransientError),
        (errno.EACCES, PermanentError),
        (errno.EROFS, PermanentError),
    ],
)
async def test_every_error_of_the_disk_has_a_meaning(
    publisher: FolderPublisher, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[PublishError]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder, "_write_post", fail)
    with pytest.raises(expected, match=os.strerror(number)):
        await publisher.publish(make_job())


async def test_a_root_that_is_a_file_is_a_permanent_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    publisher = FolderPublisher({"root": str(blocked)}, temporary_settings(tmp_path))
    with pytest.raises(PermanentError, match="cannot write below"):
        await publisher.publish(make_job())


async def test_media_that_vanished_meanwhile_is_invalid_and_leaves_nothing(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    media = await make_media(everpost)
    media.path.unlink()
    with pytest.raises(InvalidError, match="not found under EVERPOST_MEDIA"):
        await publisher.publish(make_job(media=media))
    assert list_names(posts) == []


async def test_a_media_file_named_metadata_does_not_replace_the_metadata(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    await publisher.publish(make_job(media=await make_media(everpost, "metadata.json", b"{}")))
    post = posts / idempotency_key("root", 0)
    assert list_names(post) == ["media.json", "metadata.json"]
    assert read_metadata(post)["task_id"] == "t1"


hostile = st.sampled_from(["../../up", "/etc/x", "a/b", "\0", "..", "CON", "x" * 5000]) | st.text()


@given(st.dictionaries(hostile, hostile | st.lists(hostile)))
@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
async def test_no_value_of_a_task_reaches_a_path(tmp_path: Path, data: dict[str, Any]) -> None:
    publisher = FolderPublisher({"root": str(tmp_path / "posts")}, Settings())
    await publisher.publish(make_job(data, attempt=2))
    post = tmp_path / "posts" / "douyin" / idempotency_key("root", 0)
    assert list_files(tmp_path) == [post / "metadata.json"]
    assert read_metadata(post)["data"] == data
