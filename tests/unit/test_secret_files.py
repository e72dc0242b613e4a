"""Secrets in files: `EVERPOST_TOKEN_FILE` and its like name a file that holds the value of the setting."""

import os
from pathlib import Path

import pytest

from everpost.cli.findings import settings_as_read
from everpost.credentials.vault import new_key
from everpost.errors import SettingsError
from everpost.settings import SECRET, Settings, read_settings

TOKEN = "correct horse battery staple"


def refusal_of(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings({f"EVERPOST_{name}": value for name, value in variables.items()})
    return caught.value.message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secret"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("token", TOKEN), ("redis", "rediss://:s3cret@redis/0"), ("database", "/srv/café/everpost.db")],
)
def test_the_value_is_the_files_line_without_its_end(field: str, value: str, end: str, file: Path) -> None:
    file.write_bytes((value + end).encode())
    settings = read_settings({f"EVERPOST_{field.upper()}_FILE": str(file)})
    assert getattr(settings, field) == value
    assert value not in str(settings_as_read(settings))


def test_every_secret_may_come_from_a_file_and_no_other_setting(file: Path) -> None:
    for field in Settings.__struct_fields__:
        name = f"{field.upper()}_FILE"
        value = new_key() if field == "secret_key" else TOKEN
        file.write_text(value)
        if field in SECRET:
            assert getattr(read_settings({f"EVERPOST_{name}": str(file)}), field) == value
        else:
            assert f"There is no setting EVERPOST_{name}" in refusal_of(**{name: str(file)})


def test_a_home_folder_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(TOKEN)
    monkeypatch.setenv("HOME", str(file.parent))
    assert read_settings({"EVERPOST_TOKEN_FILE": "~/secret"}).token == TOKEN


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"first-line\nsecond-line\n", "has more than one line"),
        (b"SQLite format 3\x00\xff", "is not UTF-8 text"),
        (b"x" * 16_385, "is larger than 16,384 bytes"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_and_not_shown(content: bytes, reason: str, file: Path) -> None:
    file.write_bytes(content)
    message = refusal_of(TOKEN_FILE=str(file))
    assert message == f"EVERPOST_TOKEN_FILE={file}: the file {reason}."


def test_a_value_that_the_setting_refuses_is_not_shown(file: Path) -> None:
    file.write_text("sh0rt")
    message = refusal_of(TOKEN_FILE=str(file))
    assert message.startswith("EVERPOST_TOKEN")
    assert "sh0rt" not in message


@pytest.mark.parametrize(
    ("path", "reason"),
    [("absent", "No such file or directory"), (".", "it is not a regular file"), ("pipe", "it is not a regular file")],
)
def test_a_file_that_cannot_be_read_is_refused(path: str, reason: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    wanted = tmp_path / path
    assert refusal_of(TOKEN_FILE=str(wanted)) == f"EVERPOST_TOKEN_FILE={wanted}: the file cannot be read: {reason}."


def test_a_home_folder_of_an_unknown_user_is_refused() -> None:
    assert refusal_of(TOKEN_FILE="~no-such-user-at-all/x").startswith("EVERPOST_TOKEN_FILE=~no-such-user-at-all/x: ")


def test_both_forms_at_once_are_refused(file: Path) -> None:
    file.write_text(TOKEN)
    message = refusal_of(TOKEN=TOKEN, TOKEN_FILE=str(file))
    assert message == "EVERPOST_TOKEN and EVERPOST_TOKEN_FILE are both set; unset one."


def test_one_setting_in_capitals_and_in_small_letters_is_refused_by_these_names() -> None:
    assert refusal_of(PORT="1", port="2") == "EVERPOST_PORT and EVERPOST_port are both set; unset one."


def test_an_empty_variable_counts_as_not_set(file: Path) -> None:
    file.write_text(TOKEN)
    assert read_settings({"EVERPOST_TOKEN": "", "EVERPOST_TOKEN_FILE": str(file)}).token == TOKEN
    assert read_settings({"EVERPOST_TOKEN": TOKEN, "EVERPOST_TOKEN_FILE": ""}).token == TOKEN


def test_the_command_line_wins_over_a_file(file: Path) -> None:
    file.write_text("/srv/everpost.db")
    assert read_settings({"EVERPOST_DATABASE_FILE": str(file)}, database="other.db").database == "other.db"
