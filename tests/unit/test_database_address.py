"""What `EVERPOST_DATABASE` may say."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.database_address import postgresql_address, sqlite_path
from everpost.errors import SettingsError
from everpost.settings import Settings, read_settings
from everpost.store import open_store

WITHOUT_DRIVER = """
import asyncio, sys
sys.modules["asyncpg"] = None  # importing it raises ModuleNotFoundError
from everpost.errors import SettingsError
from everpost.store import maintenance_of, open_store
for open_it in (lambda address: asyncio.run(open_store(address)), maintenance_of):
    try:
        open_it(sys.argv[1])
    except SettingsError as error:
        print(error)
"""
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
        ("postgresql://", "names no host"),
        ("postgresql:///everpost", "names no host"),
        ("postgresql://host,/everpost", "names no host"),
        ("postgresql://user:secret@ho st/everpost", "a host is a name"),
        ("postgresql://user:secret@host:port/everpost", "a host is a name"),
        ("postgresql://user:secret@secret@host/everpost", "%40 stands for @"),
        ("postgresql://user:secret/secret@host/everpost", "%40 stands for @"),
        ("postgresql://user:secret#secret@host/everpost", "%40 stands for @"),
        ("postgresql://user:secret?secret@host/everpost", "name=value"),
        ("postgresql://host/everpost?sslmode", "name=value"),
        ("postgresql://host/everpost?sslmoed=require", "sslmoed is not an option"),
        ("postgresql://host/everpost?target_session_attrs=standby", "must be read-write"),
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
    with pytest.raises(SettingsError, match="mysql:// is not supported"):
        await open_store("mysql://user:secret@host/everpost")


@pytest.mark.parametrize(
    ("address", "each", "shown"),
    [
        (
            "postgresql://user:se%40ret@host/everpost",
            ["postgresql://user:se%40ret@host:5432/everpost"],
            "postgresql://user@host/everpost",
        ),
        (
            "postgres://h1:5433,[::1],h3/everpost?port=7777&sslmode=verify-full&sslrootcert=/a b.crt",
            [
                "postgresql://h1:5433/everpost?sslmode=verify-full&sslrootcert=/a%20b.crt",
                "postgresql://[::1]:7777/everpost?sslmode=verify-full&sslrootcert=/a%20b.crt",
                "postgresql://h3:7777/everpost?sslmode=verify-full&sslrootcert=/a%20b.crt",
            ],
            "postgresql://h1:5433,[::1],h3/everpost",
        ),
        (
            "POSTGRESQL:///everpost?host=/run/postgresql,h2&port=1,2&user=me&password=secret",
            [
                "postgresql:///everpost?user=me&password=secret&host=/run/postgresql&port=1",
                "postgresql://h2:2/everpost?user=me&password=secret",
            ],
            "postgresql://me@/run/postgresql,h2/everpost",
        ),
    ],
)
def test_an_address_of_postgresql_names_hosts_and_hides_its_password(address: str, each: list[str], shown: str) -> None:
    read = postgresql_address(address)
    assert [read.at(host) for host in read.hosts] == each
    settings = read_settings({"EVERPOST_DATABASE": address, "EVERPOST_DATA": "/srv"})
    assert shown == settings.shown_database == repr(read)
    assert settings.database_path == Path("/srv/everpost.db")


def test_postgresql_without_its_driver_names_the_extra() -> None:
    address = "postgresql://user:secret@host/everpost"
    done = subprocess.run([sys.executable, "-c", WITHOUT_DRIVER, address], check=True, capture_output=True, text=True)
    assert done.stdout.count("pip install 'everpost[postgresql]'") == 2
