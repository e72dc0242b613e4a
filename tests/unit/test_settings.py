"""The settings: a value that means nothing is refused in a line that names its variable."""

import pytest

from everpost.errors import SettingsError
from everpost.settings import Settings, read_settings
from everpost_workers.publishers.folder import FolderPublisher


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATA", "~no-such-user-at-all/x"),
        ("LOG_FORMAT", "\udcff"),
        ("HOST", "x" * 64),
        ("HOST", "a..b"),
        ("TOKEN", "ends-with-a-line\n"),
        ("TOKEN", "nicht-für-header"),
        ("TIMEZONE", "America"),
        ("JOB_TIMEOUT", "nan"),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({f"EVERPOST_{name}": value})
    assert f"EVERPOST_{name}" in caught.value.message
    assert name != "TOKEN" or value not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [("HOST", "::1"), ("HOST", "0.0.0.0"), ("TOKEN", "two words, 100 %!"), ("DATA", "/srv/caf\udce9")],
)
def test_a_value_that_can_be_used_is_taken_as_it_is(name: str, value: str) -> None:
    assert str(getattr(read_settings({f"EVERPOST_{name}": value}), name.lower())) == value


def test_a_home_folder_of_an_unknown_user_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match=r"options\.root: there is no user"):
        FolderPublisher({"root": "~no-such-user-at-all/x"}, Settings())
