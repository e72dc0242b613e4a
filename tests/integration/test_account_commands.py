"""`everpost accounts` and the doctor's look at accounts, on a served API and its database."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_support import Up, environment, run, serving
from everpost.credentials.vault import Sealed, Vault, new_key
from everpost.store import open_store
from everpost.task.account_rules import AccountRecord, locked, with_tokens

OLD, NEW = new_key(), new_key()
ADD = (
    "accounts",
    "add",
    "xhs",
    "studio",
    "--credential",
    "token=env:EVERPOST_ACCOUNT_STUDIO",
    "--timezone",
    "Asia/Tokyo",
)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with serving(tmp_path, ACCOUNT_STUDIO="the token", SECRET_KEY=OLD) as up:
        yield up


def test_an_account_s_whole_life_by_commands(up: Up) -> None:
    def said(*arguments: str, code: int = 0) -> str:
        done = up.everpost(*arguments)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    assert said(*ADD, "--option", "host=x.example", "--option", "n=5") == "Account registered\n"
    assert "account_exists" in said(*ADD, code=1)
    assert "studio" in said("accounts", "list")
    shown = said("accounts", "show", "1", "studio")
    assert "credential token: env:EVERPOST_ACCOUNT_STUDIO" in shown
    assert 'options: {"host":"x.example","n":5}' in shown
    assert "tested token: ok" in said("accounts", "test", "xhs", "studio")
    said("accounts", "change", "xhs", "studio", "--credential", "token=file:none", "--title", "[red]x")
    assert "No such file" in said("accounts", "test", "xhs", "studio", code=1)
    assert "1 of 1 lead nowhere" in said("doctor", "--fast", code=1)
    assert said("accounts", "pause", "xhs", "studio", "--reason", "later") == "Account paused\n"
    (listed,) = json.loads(said("accounts", "list", "--status", "paused", "--json"))["data"]
    assert (listed["reason"], listed["title"]) == ("later", "[red]x")
    assert "[red]x" in said("accounts", "list")
    assert said("accounts", "resume", "xhs", "studio") == "Account resumed\n"
    assert said("accounts", "list", "--status", "paused") == ""
    assert "Write NAME=VALUE" in said("accounts", "change", "xhs", "studio", "--credential", "a-secret", code=2)
    assert "a-secret" not in said("accounts", "change", "xhs", "studio", "--credential", "a=a-secret", code=1)
    assert "--timezone" in said("accounts", "change", "xhs", "studio", code=2)
    assert said("accounts", "remove", "xhs", "studio") == "Account removed\n"
    assert "account_not_found" in said("accounts", "show", "xhs", "studio", code=1)
    assert len(said("accounts", "new-key").strip()) == 44


async def keep_tokens(address: str) -> None:
    """Register an account, and store tokens of it under the old key."""
    store = await open_store(address)
    account = AccountRecord(platform="xiaohongshu", account_id="studio")
    await store.accounts.add(account, 1)
    await store.accounts.change(*account.key, locked("x", 2, 1), 1)
    sealed = Vault(OLD).seal(Sealed({"a": "b"}, "", account.key))
    await store.accounts.change(*account.key, with_tokens(sealed, "x", 1), 1)
    await store.close()


@pytest.mark.chaos
def test_the_doctor_tells_which_tokens_no_key_opens_and_which_have_an_older_key(tmp_path: Path) -> None:
    asyncio.run(keep_tokens(f"sqlite:///{tmp_path / 'everpost.db'}"))

    def found(**settings: str) -> str:
        answer = json.loads(run("doctor", "--fast", "--json", env=environment(DATA=str(tmp_path), **settings)).stdout)
        (finding,) = (one for one in answer["findings"] if one["name"] == "stored tokens")
        return f"{finding.get('ok')}: {finding['value']} {finding.get('advice')}"

    assert "False: 1 of 1 cannot be decrypted" in found()
    assert "EVERPOST_SECRET_KEY is not set" in found()
    assert "no key of EVERPOST_SECRET_KEY" in found(SECRET_KEY=NEW)
    assert "None: 1, 1 of them under an older key" in found(SECRET_KEY=f"{NEW},{OLD}")
    assert "True: 1, under the first key" in found(SECRET_KEY=OLD)
