"""Where references lead, and how tokens are encrypted."""

import builtins
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from everpost.credentials import vault as vaults
from everpost.credentials.references import DeadReferenceError, resolve, resolve_all
from everpost.credentials.vault import Sealed, Vault, VaultError, new_key
from everpost.settings import read_settings
from everpost.task.account_rules import is_reference, is_registrable

SECRET = "c4n4ry-0123456789"
OLD, NEW = new_key(), new_key()
KEY = ("douyin", "a")
SEALED = Sealed({"refresh_token": SECRET}, "digest", KEY)


@pytest.mark.parametrize(
    "text",
    ["env:EVERPOST_ACCOUNT_X", "env:EVERPOST_ACCOUNT_A_1", "file:a", "file:douyin/studio.json", "file:a-b_c.d/e"],
)
def test_these_are_references(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        SECRET, "", "env:", "env:PATH", "env:EVERPOST_TOKEN", "env:EVERPOST_ACCOUNT_", "env:EVERPOST_ACCOUNT_x",
        "env:EVERPOST_ACCOUNT_X\n", "file:", "file:/etc/passwd", "file:..", "file:../x", "file:a/../b", "file:.hidden",
        "file:a//b", "file:a/", "file:a\\b", "file:a\0b", "ENV:EVERPOST_ACCOUNT_X", "vault:x", " file:a",
    ],
)  # fmt: skip
def test_these_are_no_references(text: str) -> None:
    assert not is_reference(text)


def test_a_reference_leads_to_a_variable_or_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "douyin").mkdir()
    (tmp_path / "douyin" / "a.json").write_text(f'{{"a": "{SECRET}"}}\n')
    environment = {"EVERPOST_ACCOUNT_X": SECRET, "PATH": "/bin"}
    given = {"a": "env:EVERPOST_ACCOUNT_X", "b": "file:douyin/a.json"}
    assert resolve_all(given, environment, tmp_path) == ({"a": SECRET, "b": f'{{"a": "{SECRET}"}}'}, {})


def test_a_file_may_be_behind_a_link_that_stays_in_the_folder(tmp_path: Path) -> None:
    """As Kubernetes mounts secrets: NAME -> ..data/NAME, ..data -> ..TIMESTAMP."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "token").write_text(SECRET)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "token").symlink_to("..data/token")
    assert resolve("file:token", {}, tmp_path) == SECRET


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text(SECRET)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").symlink_to("../outside")
    with pytest.raises(DeadReferenceError, match="outside") as refused:
        resolve("file:token", {}, tmp_path / "secrets")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("env:EVERPOST_ACCOUNT_NONE", "not set"),
        ("env:EVERPOST_ACCOUNT_EMPTY", "not set"),
        ("env:PATH", "not a reference"),
        (SECRET, "not a reference"),
        ("file:none", "No such file"),
        ("file:empty", "is empty"),
        ("file:binary", "not UTF-8"),
        ("file:folder", "Is a directory|not a regular"),
        ("file:pipe", "not a regular"),
        ("file:large", "larger than"),
        ("file:closed", "Permission denied|larger than|is empty"),
    ],
)
def test_a_dead_reference_is_told_without_a_value(tmp_path: Path, reference: str, said: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + SECRET.encode())
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text(SECRET * 20_000)
    (tmp_path / "closed").write_text("")
    (tmp_path / "closed").chmod(0)
    environment = {"EVERPOST_ACCOUNT_EMPTY": "", "PATH": SECRET}
    with pytest.raises(DeadReferenceError) as refused:
        resolve(reference, environment, tmp_path)
    assert re.search(said, str(refused.value))
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value.__cause__)


def test_tokens_are_encrypted_with_the_first_key_and_opened_with_any() -> None:
    text = Vault(OLD).seal(SEALED)
    assert SECRET not in text
    rotating = Vault(f"{NEW} , {OLD}")
    assert rotating.open(text, KEY) == SEALED
    anew = rotating.sealed_anew(text)
    assert anew is not None
    assert rotating.sealed_anew(anew) is None
    assert Vault(NEW).open(anew, KEY) == SEALED
    assert Vault(NEW).open(rotating.seal(SEALED), KEY) == SEALED


@pytest.mark.parametrize(
    ("keys", "text", "account", "said"),
    [
        (NEW, Vault(OLD).seal(SEALED), KEY, "no key"),
        (OLD, "damaged", KEY, "no key"),
        (OLD, Vault(OLD).seal(SEALED), ("douyin", "b"), "another account"),
        (None, Vault(OLD).seal(SEALED), KEY, "EVERPOST_SECRET_KEY is not set"),
    ],
    ids=["another key", "damaged", "another account", "no key"],
)
def test_tokens_that_cannot_be_opened_are_refused(
    keys: str | None, text: str, account: tuple[str, str], said: str
) -> None:
    with pytest.raises(VaultError, match=said):
        Vault(keys).open(text, account)


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(VaultError, match=re.escape("pip install 'everpost[accounts]'")):
        Vault(OLD).check()


def test_the_library_is_not_imported_before_it_is_needed() -> None:
    for modules in ("everpost.app, everpost.cli", "everpost_workers.__main__, everpost.credentials.vault"):
        code = f"import sys, {modules}; sys.exit('cryptography.hazmat' in sys.modules or 'jwt' in sys.modules)"
        assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


def test_variables_of_accounts_are_no_settings_and_keys_are_checked() -> None:
    settings = read_settings({"EVERPOST_ACCOUNT_X": SECRET, "EVERPOST_SECRET_KEY": f"{NEW},{OLD}"})
    assert settings.secret_key == f"{NEW},{OLD}"
    with pytest.raises(Exception, match="EVERPOST_SECRET_KEY") as refused:
        read_settings({"EVERPOST_SECRET_KEY": SECRET})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("account_id", ["", " ", ".", "..", "a/b", "a\nb", "a\x1b[0m", "\u202e"])
def test_these_ids_fit_into_no_route(account_id: str) -> None:
    assert not is_registrable(account_id)


@pytest.mark.parametrize("account_id", ["a", "@mei:matrix.example", "mei@example.org", "工作室", "a b", "a%2Fb"])
def test_these_ids_can_be_registered(account_id: str) -> None:
    assert is_registrable(account_id)


def test_a_new_key_is_one_that_the_library_takes() -> None:
    assert vaults.new_key() != vaults.new_key()
    Vault(vaults.new_key()).check()
