"""What `EVERPOST_DATABASE` may say."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.database_address import sqlite_path
from everpost.errors import SettingsError
from everpost.settings import Settings, read_settings
from everpost.store import open_store

PATHS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=40).filter(
    lambda path: not path.startswith("~") and path.strip("/") != ""
)


@given(PATHS)
def test_a_path_is_taken_as_it_is(path: str) -> None:
    plain = f"./{path}"  # so that no scheme begins it
    assert sqlite_path(plain) == Path(plain)


@given(PATHS)
def test_an_address_names_the_path_that_was_written_into_it(path: str) -> None:
    assert sqlite_path(f"sqlite:///{quote(path)}") == Path(path)
    assert sqlite_path(f"SQLite:////{quote(path)}") == Path(f"/{path}")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("a%20b.db", "a%20b.db"),
        ("a?b#c.db", "a?b#c.db"),
        ("sqlite:///a%20b.db", "a b.db"),
        ("sqlite:///a%3Fb%23c%25.db", "a?b#c%.db"),
        ("sqlite:///data/测试.db", "data/测试.db"),
        ("sqlite:////srv/everpost.db", "/srv/everpost.db"),
        ("sqlite:///./everpost.db", "everpost.db"),
        (r"C:\data\everpost.db", r"C:\data\everpost.db"),
        ("C:everpost.db", "C:everpost.db"),
        ("a:b", "a:b"),
        ("://a", "://a"),
        ("1st://a", "1st://a"),
        ("~/everpost.db", str(Path.home() / "everpost.db")),
        ("sqlite:///~/everpost.db", str(Path.home() / "everpost.db")),
    ],
)
def test_odd_characters_mean_what_they_mean_in_paths_and_in_addresses(address: str, path: str) -> None:
    assert sqlite_path(address) == Path(path)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("postgresql://user:secret@host/everpost", "postgresql:// is not supported"),
        ("mysql+pymysql://user:secret@host/everpost", "mysql+pymysql:// is not supported"),
        ("c://secret/everpost.db", "c:// is not supported"),
        ("sqlite://secret/everpost.db", "no host"),
        ("sqlite:everpost.db", "three or four slashes"),
        ("sqlite:/secret.db", "three or four slashes"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///a%00b", "names no file"),
        ("sqlite:///secret.db?mode=ro", "%3F"),
        ("sqlite:///secret.db#b", "%23"),
        ("sqlite:///%ff.db", "UTF-8"),
        ("~nobody-has-this-name/everpost.db", "no user"),
        ("sqlite:///~nobody-has-this-name/everpost.db", "no user"),
    ],
)
def test_other_addresses_are_refused_at_start_with_the_supported_ones(address: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({"EVERPOST_DATABASE": address})
    message = refused.value.message
    assert message.startswith("EVERPOST_DATABASE: ")
    assert told in message
    assert "sqlite:////absolute/path" in message
    assert "secret" not in message  # an address may hold a password


def test_an_empty_setting_is_none_and_a_path_wins_over_the_data_folder() -> None:
    assert read_settings({"EVERPOST_DATABASE": ""}).database_path == Path("everpost-data/everpost.db")
    assert Settings(data=Path("/srv")).database_path == Path("/srv/everpost.db")
    assert read_settings({"EVERPOST_DATABASE": "sqlite:///b.db", "EVERPOST_DATA": "a"}).database_path == Path("b.db")


async def test_a_store_with_another_scheme_is_not_opened() -> None:
    with pytest.raises(SettingsError, match="postgresql:// is not supported"):
        await open_store("postgresql://user:secret@host/everpost")
