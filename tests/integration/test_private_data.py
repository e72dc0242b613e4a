"""Files of a real `everpost up` under the usual umask: only its user can read them, existing ones included."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_support import run, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes through /proc")


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_ones(folder: Path) -> list[str]:
    """What of a folder, itself included, its group or others may use."""
    places = [folder, *folder.rglob("*")]
    return [
        f"{path} {path.stat().st_mode:o}" for path in places if not path.is_socket() and path.stat().st_mode & 0o077
    ]


@pytest.mark.chaos
def test_other_users_can_read_no_file_of_everposts_new_or_old(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(tmp_path) as up:
        up.wait_until_ended(up.publish(title="测试视频"))
        assert open_ones(data) == []
        copy = tmp_path / "copy.db"
        assert run("backup", str(copy), env=up.env).returncode == 0
        assert copy.stat().st_mode & 0o777 == 0o600
        assert up.stop() == 0, up.said()
    for path in (data, *data.rglob("*")):  # as an older version made them
        path.chmod(0o755 if path.is_dir() else 0o644)
    found = run("doctor", "--fast", env=up.env)
    assert "Others may read them" in found.stdout
    with serving(tmp_path) as up:
        assert data.stat().st_mode & 0o777 == 0o700
        assert (data / "everpost.db").stat().st_mode & 0o777 == 0o600
        assert (data / "everpost.db-wal").stat().st_mode & 0o777 == 0o600
        assert "Others may read them" not in run("doctor", "--fast", env=up.env).stdout


def test_posts_in_an_operators_folder_have_that_folders_permissions(tmp_path: Path) -> None:
    posts = tmp_path / "www"
    posts.mkdir(mode=0o755)
    catalogue = tmp_path / "platforms.toml"
    catalogue.write_text(f'[platforms.xiaohongshu.options]\nroot = "{posts}"\n', encoding="utf-8")
    with serving(tmp_path, PLATFORMS=str(catalogue)) as up:
        up.wait_until_ended(up.publish(title="t"))
    post = next(posts.glob("*/*/metadata.json"))
    assert post.stat().st_mode & 0o777 == 0o644
    assert post.parent.stat().st_mode & 0o777 == 0o755
    assert post.parent.parent.stat().st_mode & 0o777 == 0o755
