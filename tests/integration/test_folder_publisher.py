"""The folder publisher on a real file system: whole or not at all, once a key, and nowhere else."""

import asyncio
import errno
import filecmp
import json
import os
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everpost.platforms import Catalogue
from everpost.publishing import (
    InvalidError,
    Media,
    PermanentError,
    PublishError,
    PublishJob,
    PublishResult,
    TransientError,
    idempotency_key,
)
from everpost.publishing.media import resolve_media
from everpost.settings import Settings, temporary_settings
from everpost.testing import everpost_stack
from everpost_workers.main import create_worker
from everpost_workers.publishers import folder
from everpost_workers.publishers.folder import FolderPublisher

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


async def test_several_files_are_written_each_under_a_name_of_its_own(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    files = tuple([await make_media(everpost, name, name.encode()) for name in ("a.PNG", "b.png", "metadata.json")])
    job = PublishJob(task_id="t1", data=DATA, platform=DOUYIN, idempotency_key=idempotency_key("root", 0), files=files)
    result = await publisher.publish(job)
    post = posts / idempotency_key("root", 0)
    assert result.detail == {"media": "a.PNG and 2 more"}
    assert list_names(post) == ["media-2.png", "media-3.json", "media.png", "metadata.json"]
    assert (post / "media-3.json").read_bytes() == b"metadata.json"
    assert [file["file"] for file in read_metadata(post)["files"]] == ["media.png", "media-2.png", "media-3.json"]
    (post / "media-2.png").write_bytes(b"spoilt")
    await publisher.publish(msgspec.structs.replace(job, attempt=2))
    assert (post / "media-2.png").read_bytes() == b"b.png"


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


MB = 1 << 20


def make_sparse(everpost: Settings, size_bytes: int, name: str = "sparse.mp4") -> Path:
    file = everpost.media_root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as media:
        media.write(b"beginning")
        media.seek(size_bytes // 2)
        media.write(b"middle")
        media.truncate(size_bytes)
    return file


async def test_a_sparse_file_takes_no_more_room_than_it_has(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    source = make_sparse(everpost, 300 * MB)
    media = await resolve_media({"file_path": source.name}, everpost.media_root)
    await publisher.publish(make_job(media=media))
    copy = posts / idempotency_key("root", 0) / "media.mp4"
    assert copy.stat().st_size == 300 * MB
    assert copy.stat().st_blocks * 512 < 2 * MB
    assert filecmp.cmp(source, copy, shallow=False)


async def test_media_above_the_limit_are_refused_also_if_they_grew_meanwhile(everpost: Settings, posts: Path) -> None:
    make_sparse(everpost, 6)
    with pytest.raises(InvalidError, match="6 bytes; EVERPOST_MAX_MEDIA allows 5"):
        await resolve_media({"file_path": "sparse.mp4"}, everpost.media_root, 5)
    publisher = FolderPublisher({}, msgspec.structs.replace(everpost, max_media=5))
    media = await make_media(everpost)
    media.path.write_bytes(b"longer")
    with pytest.raises(InvalidError, match="6 bytes; EVERPOST_MAX_MEDIA allows 5"):
        await publisher.publish(make_job(media=media))
    assert list_names(posts) == []


async def test_media_that_would_fill_the_disk_are_not_copied(everpost: Settings, posts: Path) -> None:
    free = shutil.disk_usage(everpost.data).free
    publisher = FolderPublisher({}, msgspec.structs.replace(everpost, min_free_disk=free + 1_000 * MB))
    with pytest.raises(TransientError, match="bytes free; the media needs"):
        await publisher.publish(make_job(media=await make_media(everpost)))
    assert list_names(posts) == []
    await publisher.publish(make_job())


class Tap:
    """Lets a copy flow chunk by chunk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.stopped = threading.Event()
        write = os.pwrite

        def pwrite(*arguments: Any) -> int:
            self.begun.set()
            assert self.open.wait(20)
            return write(*arguments)

        def rmtree(*arguments: Any, **options: Any) -> None:
            shutil_rmtree(*arguments, **options)
            self.stopped.set()

        shutil_rmtree = shutil.rmtree
        monkeypatch.setattr(os, "pwrite", pwrite)
        monkeypatch.setattr(shutil, "rmtree", rmtree)


async def test_a_copy_of_a_cancelled_attempt_stops_at_its_next_chunk_and_leaves_nothing(
    publisher: FolderPublisher, everpost: Settings, posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await make_media(everpost, content=b"x" * 3 * MB)
    tap = Tap(monkeypatch)
    copy = asyncio.create_task(publisher.publish(make_job(media=media)))
    await asyncio.to_thread(tap.begun.wait, 20)
    copy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copy
    tap.open.set()
    assert await asyncio.to_thread(tap.stopped.wait, 20)
    assert list_names(posts) == []


async def test_large_copies_keep_no_small_post_waiting(
    publisher: FolderPublisher, everpost: Settings, posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await make_media(everpost, content=b"x" * (folder.SMALL_BYTES + 1))
    tap = Tap(monkeypatch)
    copies = [asyncio.create_task(publisher.publish(make_job(generation=number, media=media))) for number in range(20)]
    await asyncio.to_thread(tap.begun.wait, 20)
    await publisher.publish(make_job(generation=99))
    assert idempotency_key("root", 99) in list_names(posts)
    for copy in copies[1:]:
        copy.cancel()
    tap.open.set()
    assert isinstance((await asyncio.gather(*copies, return_exceptions=True))[0], PublishResult)


async def test_a_time_out_of_a_copy_leaves_no_half_post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tap = Tap(monkeypatch)
    async with everpost_stack(folder=tmp_path, job_timeout=0.2, max_attempts=1, workers=0) as stack:
        await make_media(stack.settings, content=b"x" * 3 * MB)
        task_id = await stack.publish(platform="douyin", file_path="clip.MP4")
        worker = create_worker(stack.settings, handle_signals=False)
        run = asyncio.create_task(worker.async_run())
        task = await stack.wait_until_ended(task_id)
        tap.open.set()
        assert await asyncio.to_thread(tap.stopped.wait, 20)
        await worker.close()
        await asyncio.gather(run, return_exceptions=True)
    assert task["status"] == "unknown"
    assert list_files(tmp_path / "published") == []


@pytest.mark.parametrize("moment", ["_copy_media", "flush", "_move_into_place"])
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


async def test_a_crashed_attempts_files_are_removed_by_the_rerun(publisher: FolderPublisher, posts: Path) -> None:
    key = idempotency_key("root", 0)
    (posts / f".{key}.crashed").mkdir(parents=True)
    (posts / f".{key}.crashed" / "media.mp4").write_bytes(b"half")
    await publisher.publish(make_job(attempt=2))
    assert list_names(posts) == [key]


async def test_a_crashed_attempts_files_are_removed_when_old_if_the_task_never_runs_again(
    publisher: FolderPublisher, everpost: Settings, posts: Path
) -> None:
    names = [f".{idempotency_key('root', number)}.crashed" for number in (7, 8)]
    for name in names:
        (posts / name).mkdir(parents=True)
        (posts / name / "media.mp4").write_bytes(b"half")
    old_s = time.time() - folder.ABANDONED_AFTER * everpost.job_timeout - 1
    os.utime(posts / names[0], (old_s, old_s))
    await publisher.publish(make_job())
    assert list_names(posts) == sorted([names[1], idempotency_key("root", 0)])


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
