"""A restored backup has accounts, encrypted tokens, holds and limits. Without the key, tasks wait and say why."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from everpost.clock import system_clock
from everpost.credentials.vault import Sealed, Vault, new_key
from everpost.limits import Limits
from everpost.publishing import PublishJob, PublishResult
from everpost.store import Store, maintenance_of
from everpost.task.account_rules import AccountRecord, AccountStatus, locked, put_on, with_tokens
from everpost.task.holds import Hold, WaitKind, with_hold, with_limits
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from everpost_workers.accounts.job_account import digest_of
from postgresql_server import binaries, shared_server

STUDIO = ("xiaohongshu", "studio")
PAUSED = ("xiaohongshu", "paused")
SECRET = "c4n4ry-0123456789"
ROTATED = "rotated-9876543210"
KEY = new_key()
YEAR_MS = 31_536_000_000
REFUSED = "The account 'studio' has rotated tokens, but"
NO_KEY = f"{REFUSED} EVERPOST_SECRET_KEY is not set: `everpost accounts new-key` prints one."
OTHER_KEY = f"{REFUSED} no key of EVERPOST_SECRET_KEY decrypts the stored tokens."


class Platform(PublisherDouble):
    """A platform that reads the account's credentials."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, str]] = []

    async def publish(self, job: PublishJob) -> PublishResult:
        self.seen.append(await job.account.credentials())
        return await super().publish(job)


Restore = Callable[[str, Path], str]
"""Restores a backup of the database at an address; the address of the restored one, with files in the folder."""


def restore_file(address: str, folder: Path) -> str:
    maintenance_of(address).back_up(folder / "backup.db")
    restored = f"sqlite:///{folder / 'everpost.db'}"
    maintenance_of(restored).restore(folder / "backup.db", system_clock())
    return restored


def restore_dump(address: str, folder: Path) -> str:
    def run(program: str, database: str, *arguments: str | Path) -> None:
        subprocess.run([binaries() / program, f"--dbname={database}", *arguments], check=True)

    run("pg_dump", address, "--format=custom", f"--file={folder / 'dump'}")
    restored = shared_server().new_database(template="template0")
    run("pg_restore", restored, "--single-transaction", folder / "dump")
    return restored


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.chaos)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Restore]]:
    """The address of the database that is backed up, and what restores it."""
    if request.param == "sqlite":
        (tmp_path / "before").mkdir()
        yield f"sqlite:///{tmp_path / 'before' / 'everpost.db'}", restore_file
        return
    address = shared_server().new_database(template="template0")
    yield address, restore_dump
    shared_server().drop(address)


async def fill(store: Store) -> str:
    """An account with rotated tokens, one that is paused, limits, a pause and a closure; the encrypted tokens."""
    credentials = {"token": "env:EVERPOST_ACCOUNT_STUDIO"}
    now_ms = system_clock()
    for platform, account_id in (STUDIO, PAUSED):
        record = AccountRecord(platform=platform, account_id=account_id, credentials=credentials)
        await store.accounts.add(record, now_ms)
    made_from = digest_of({"token": SECRET})  # as a worker keeps it
    sealed = Vault(KEY).seal(Sealed({"token": ROTATED}, made_from, STUDIO))
    await store.accounts.change(*STUDIO, locked("x", now_ms + 1, now_ms), now_ms)
    await store.accounts.change(*STUDIO, with_tokens(sealed, "x", now_ms), now_ms)
    await store.accounts.change(*PAUSED, put_on(AccountStatus.PAUSED, "being moved", now_ms), now_ms)
    await store.limits.change("xiaohongshu/studio", with_limits(Limits(daily=7)), now_ms)
    hold = Hold(kind=WaitKind.PAUSED, reason="It is down.", since="2026-01-01T00:00:00.000Z")
    await store.limits.change("douyin", with_hold(hold), now_ms)
    await store.limits.close("bilibili/x", now_ms + YEAR_MS)
    return sealed


async def contents(store: Store) -> Any:
    """The accounts without their locks, the limits and holds, and the closures."""
    accounts = await store.accounts.page(None, 9)
    kept = [(one.key, one.status, one.reason, one.credentials, one.tokens) for one in accounts]
    return kept, await store.limits.find(), await store.limits.closures(0)


async def waits(stack: Stack, task_id: str, kind: str, scope: str, reason: str) -> None:
    async def is_parked() -> bool:
        wanted = {"kind": kind, "scope": scope, "reason": reason, "until": None}
        return bool((await stack.task(task_id))["waits_for"] == wanted)

    await eventually(is_parked, what=f"a task that waits because of {reason!r}")


async def test_a_restored_stack_has_accounts_holds_and_limits_and_without_the_key_tasks_wait_and_nothing_is_lost(
    place: tuple[str, Restore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERPOST_ACCOUNT_STUDIO", SECRET)
    address, restore = place
    folder = tmp_path / "restored"
    folder.mkdir()
    async with everpost_stack(folder=tmp_path / "before", workers=0, database=address, secret_key=KEY) as stack:
        sealed = await fill(stack.store)
        before = await contents(stack.store)
        restored = restore(address, folder)

    platform = Platform()
    async with everpost_stack(folder=folder, workers=0, database=restored, publisher=platform) as stack:
        await stack.start_worker()
        assert await contents(stack.store) == before
        assert (await stack.client.post("/api/v1/dispatch/resume")).status_code == 200
        task_id = await stack.publish(account_id="studio")
        await waits(stack, task_id, "held", "xiaohongshu/studio", NO_KEY)
        await waits(stack, await stack.publish(account_id="paused"), "paused", "xiaohongshu/paused", "being moved")
        await waits(stack, await stack.publish(platform="douyin"), "paused", "douyin", "It is down.")
        account = await stack.store.accounts.find(*STUDIO)
        assert account is not None
        assert account.tokens == sealed
        assert (await stack.task(task_id))["attempts_spent"] == 0
        assert platform.attempts == []

    async with everpost_stack(
        folder=folder, workers=0, database=restored, publisher=platform, secret_key=new_key()
    ) as stack:
        await stack.start_worker()
        await stack.client.post("/api/v1/accounts/xiaohongshu/studio/resume")
        await waits(stack, task_id, "held", "xiaohongshu/studio", OTHER_KEY)

    async with everpost_stack(folder=folder, workers=0, database=restored, publisher=platform, secret_key=KEY) as stack:
        await stack.start_worker()
        await stack.client.post("/api/v1/accounts/xiaohongshu/studio/resume")
        assert (await stack.wait_until_ended(task_id))["status"] == "success"
        assert platform.seen == [{"token": ROTATED}]
        assert len(platform.attempts) == 1
    if address != restored and not restored.startswith("sqlite"):
        shared_server().give_back(restored)
