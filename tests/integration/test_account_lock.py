"""One process of the whole fleet rotates an account's tokens at a time, whatever dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import stores
from everpost.credentials.vault import new_key
from everpost.settings import Settings
from everpost.store import Store, open_store
from everpost.task.account_rules import AccountRecord
from everpost.testing import eventually
from everpost_workers.accounts.book import AccountBook

KEY = new_key()
NAMES = ("first", "second")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.chaos)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with stores.empty_store(request.param, tmp_path) as address:
        yield address


@pytest.fixture
async def store(address: str) -> AsyncIterator[Store]:
    store = await open_store(address)
    credentials = {"token": "env:EVERPOST_ACCOUNT_A"}
    await store.accounts.add(AccountRecord(platform="douyin", account_id="a", credentials=credentials), 1)
    yield store
    await store.close()


class Fleet:
    """Two processes that wait for the same lock."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        (folder / "wait").touch()
        script = Path(__file__).parents[1] / "account_process.py"
        env = {**os.environ, "EVERPOST_ACCOUNT_A": "the first token"}
        self.processes = {
            name: subprocess.Popen(
                [sys.executable, str(script), address, KEY, name, str(folder)],
                env=env,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in NAMES
        }

    def refreshes(self) -> list[str]:
        path = self.folder / "refreshes"
        return path.read_text().split() if path.exists() else []

    async def go(self) -> None:
        async def are_ready() -> bool:
            return all((self.folder / f"{name}.ready").exists() for name in NAMES)

        await eventually(are_ready, what="both processes")
        (self.folder / "wait").unlink()

    async def answer_of(self, name: str) -> str:
        answer, _ = await asyncio.to_thread(self.processes[name].communicate, timeout=30)
        return answer.splitlines()[-1]  # after its log


@pytest.fixture
async def fleet(address: str, store: Store, tmp_path: Path) -> AsyncIterator[Fleet]:
    folder = tmp_path / "fleet"
    folder.mkdir()
    fleet = Fleet(address, folder)
    yield fleet
    for process in fleet.processes.values():
        process.kill()
        process.communicate()


async def test_two_processes_that_refresh_at_once_refresh_once(fleet: Fleet) -> None:
    await fleet.go()
    answers = [await fleet.answer_of(name) for name in NAMES]
    (refresher,) = fleet.refreshes()
    assert answers == [f"from {refresher}"] * 2


@pytest.mark.chaos
async def test_after_the_death_of_a_holder_the_next_one_goes_on(fleet: Fleet) -> None:
    (fleet.folder / "hold").touch()
    await fleet.go()

    async def is_held() -> bool:
        return bool(fleet.refreshes())

    await eventually(is_held, what="a holder")
    (holder,) = fleet.refreshes()
    other = NAMES[holder == NAMES[0]]
    fleet.processes[holder].send_signal(signal.SIGKILL)
    (fleet.folder / "hold").unlink()
    assert await fleet.answer_of(other) == f"from {other}"
    assert fleet.refreshes() == [holder, other]


async def test_a_holder_that_stood_still_for_too_long_stores_nothing(store: Store, address: str) -> None:
    books = [
        AccountBook(
            store, Settings(lease=1.0, secret_key=KEY), clock, worker_id=name, environment={"EVERPOST_ACCOUNT_A": "old"}
        )
        for name, clock in (("frozen", lambda: 1_000), ("other", lambda: 9_000))
    ]
    frozen, other = [await book.open("douyin", "a", is_needed=True) for book in books]
    async with frozen.refreshing() as late:
        async with other.refreshing() as tokens:
            await tokens.store({"token": "new"})
        with pytest.raises(Exception, match="stood still") as refused:
            await late.store({"token": "late"})
    assert "late" not in repr(refused.value.__cause__)
    assert (await frozen.credentials())["token"] == "new"
