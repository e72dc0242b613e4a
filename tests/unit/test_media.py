"""Media: nothing outside the root is ever opened, whatever a task says."""

import contextlib
import os
import socket
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.publishing import InvalidError, describe_media
from everpost.publishing.media import resolve_media

OPEN_FILES = Path("/proc/self/fd")
NAMES = ["clip.mp4", "folder", "inner.jpg", "..", ".", "", "outside", "link", "secret.txt", "/", "\0", "~", "absent"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tree(tmp_path)


def make_tree(base: Path) -> Path:
    root = base / "media"
    (root / "folder").mkdir(parents=True)
    (root / "clip.mp4").write_bytes(b"12345")
    (root / "folder" / "inner.jpg").write_bytes(b"1")
    (base / "secret.txt").write_bytes(b"secret")
    (root / "link").symlink_to(base / "secret.txt")
    (root / "outside").symlink_to(base)
    return root


async def test_a_file_is_found_with_its_size_name_and_type(root: Path) -> None:
    media = await resolve_media({"file_path": "./folder//inner.jpg"}, root)
    assert media is not None
    assert (media.path, media.size_bytes) == (root / "folder" / "inner.jpg", 1)
    assert (media.filename, media.content_type) == ("inner.jpg", "image/jpeg")
    with media.open_file() as file:
        assert file.read() == b"1"


async def test_an_unknown_media_type_is_a_stream_of_bytes(root: Path) -> None:
    (root / "视频.qqq").touch()
    media = await resolve_media({"file_path": "视频.qqq"}, root)
    assert media is not None
    assert media.content_type == "application/octet-stream"


@pytest.mark.parametrize("data", [{}, {"file_id": 123}, {"file_path": None}, {"file_path": ""}])
async def test_a_task_without_a_path_never_touches_the_disk(data: dict[str, Any], tmp_path: Path) -> None:
    coroutine = resolve_media(data, tmp_path / "absent")
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)
    assert finished.value.value is None


@pytest.mark.parametrize(
    "file_path",
    [
        "../secret.txt",
        "folder/../../secret.txt",
        "/etc/passwd",
        "//etc/passwd",
        "link",
        "outside/secret.txt",
        "clip.mp4/x",
        "folder",
        ".",
        "/",
        "clip.mp4\0.jpg",
        "\ud800",
        "x" * 5000,
        "absent.mp4",
        7,
        ["clip.mp4"],
    ],
)
async def test_a_path_to_anything_but_a_regular_file_below_the_root_is_invalid(root: Path, file_path: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        await resolve_media({"file_path": file_path}, root)
    assert str(root) not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_a_missing_file_is_named_as_the_task_named_it(root: Path) -> None:
    with pytest.raises(InvalidError, match=r"'folder/absent\.mp4' not found under EVERPOST_MEDIA"):
        await resolve_media({"file_path": "folder/absent.mp4"}, root)


async def test_a_named_pipe_and_a_socket_are_refused_without_waiting(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)  # a socket's address may be no longer than 100 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name in ("pipe", "socket"):
            with pytest.raises(InvalidError, match="no regular file"):
                await resolve_media({"file_path": name}, root)


async def test_a_file_swapped_for_a_link_after_it_was_found_is_not_read(root: Path) -> None:
    media = await resolve_media({"file_path": "folder/inner.jpg"}, root)
    assert media is not None
    media.path.unlink()
    media.path.symlink_to(root.parent / "secret.txt")
    with pytest.raises(InvalidError):
        media.open_file()


async def test_a_folder_swapped_for_a_link_after_it_was_seen_is_not_walked(root: Path) -> None:
    media = await resolve_media({"file_path": "folder/inner.jpg"}, root)
    assert media is not None
    elsewhere = root.parent / "elsewhere"
    (root / "folder").rename(elsewhere)
    (root / "folder").symlink_to(elsewhere)
    with pytest.raises(InvalidError):
        media.open_file()


async def look_everywhere(root: Path) -> int:
    for file_path in ("clip.mp4", "folder/inner.jpg", "folder", "link", "outside/secret.txt", "folder/absent"):
        with contextlib.suppress(InvalidError):
            await resolve_media({"file_path": file_path}, root)
    return count_open_files()


def count_open_files() -> int:
    return sum(1 for _ in OPEN_FILES.iterdir())


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="counts open files through /proc")
async def test_no_file_is_left_open(root: Path) -> None:
    first = await look_everywhere(root)
    assert await look_everywhere(root) <= first + 1  # another thread of the pool may have started


@given(st.lists(st.sampled_from(NAMES) | st.text(max_size=5), max_size=6).map("/".join))
async def test_whatever_is_found_lies_below_the_root(file_path: str) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = make_tree(Path(base))
        try:
            media = await resolve_media({"file_path": file_path}, root)
        except InvalidError:
            return
        if media is None:
            assert file_path == ""
            return
        assert media.path.resolve().is_relative_to(root.resolve())
        assert PurePosixPath(file_path).name == media.filename
        with media.open_file() as file:
            assert file.read() in {b"12345", b"1"}


def test_a_result_describes_the_media() -> None:
    assert describe_media({}, None) == "none"
    assert describe_media({"file_id": 123}, None) == "none: file_id 123 is unknown, published as metadata only"
