"""A process that rotates an account's tokens as a worker does, for tests of the lock: `ADDRESS KEY NAME FOLDER`.

It writes its name into the file `refreshes` for each refresh that it makes. A file `hold` lets it keep the lock.
"""

import asyncio
import os
import sys
from pathlib import Path

from everpost.settings import Settings
from everpost.store import open_store
from everpost_workers.accounts.book import AccountBook


async def until_gone(file: Path) -> None:
    while file.exists():  # noqa: ASYNC110, ASYNC240 - another process removes it
        await asyncio.sleep(0.01)


async def refresh(address: str, key: str, name: str, folder: Path) -> None:
    store = await open_store(address)
    book = AccountBook(store, Settings(lease=1.0, secret_key=key), store.meta.now_ms, worker_id=name)
    account = await book.open("douyin", "a", is_needed=True)
    await account.credentials()
    (folder / f"{name}.ready").touch()
    await until_gone(folder / "wait")
    async with account.refreshing() as tokens:
        if not tokens.are_fresh:
            with (folder / "refreshes").open("a") as file:
                file.write(f"{name}\n")
            await until_gone(folder / "hold")
            await tokens.store({"token": f"from {name}"})
    sys.stdout.write((await account.credentials())["token"])
    await book.close()
    await store.close()


if __name__ == "__main__":
    assert os.environ["EVERPOST_ACCOUNT_A"]
    address, key, name, folder = sys.argv[1:]
    asyncio.run(refresh(address, key, name, Path(folder)))
