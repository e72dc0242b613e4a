"""The rule over permission bits that keeps Everpost's files private."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.private_files import close_to_others, new_file_mode, open_to_others, private_mode, umask_of
from everpost.settings import Settings


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (0o755, 0o700),  # what the umask 022 makes
        (0o644, 0o600),
        (0o700, 0o700),
        (0o750, 0o750),  # what a person made
        (0o770, 0o770),
        (0o2775, 0o2770),
        (0o777, 0o770),
        (0o664, 0o660),
    ],
)
def test_a_group_keeps_what_a_person_gave_it_and_others_keep_nothing(found: int, left: int) -> None:
    assert private_mode(found) == left


@given(st.integers(0, 0o7777))
def test_the_rule_adds_no_permission_and_is_stable(mode: int) -> None:
    assert private_mode(mode) & ~mode == 0
    assert private_mode(mode) & 0o7700 == mode & 0o7700
    assert private_mode(private_mode(mode)) == private_mode(mode)
    assert not private_mode(mode) & 0o007
    assert not 0o777 & ~umask_of(private_mode(mode)) & 0o007


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_data_folder_from_before_is_closed_and_a_shared_one_stays_the_groups(tmp_path: Path) -> None:
    for name, before, after, file in (("old", 0o755, 0o700, 0o600), ("shared", 0o2770, 0o2770, 0o660)):
        data = tmp_path / name
        (data / "published").mkdir(parents=True)
        (data / "everpost.db").write_bytes(b"")
        (data / "everpost.db.before-everpost-x").write_bytes(b"")
        data.chmod(before)
        settings = Settings(data=data)
        assert open_to_others(settings) or before == after
        close_to_others(settings)
        assert mode_of(data) == after
        assert open_to_others(settings) == []
        assert mode_of(data / "published") == 0o700
        assert mode_of(data / "everpost.db.before-everpost-x") == 0o600
        assert new_file_mode(data) == file
        (data / "made").mkdir()
        assert mode_of(data / "made") & 0o777 == after & 0o777


def test_a_folder_that_never_was_a_data_folder_keeps_its_mode_and_new_files_in_it_are_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "somebody-elses").write_bytes(b"")
    close_to_others(Settings(data=tmp_path))
    assert (mode_of(tmp_path), mode_of(tmp_path / "somebody-elses")) == (0o755, 0o644)
    (tmp_path / "ours").write_bytes(b"")
    assert mode_of(tmp_path / "ours") == 0o600


def test_a_missing_data_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    close_to_others(Settings(data=tmp_path / "data"))
    assert mode_of(tmp_path / "data") == 0o700
