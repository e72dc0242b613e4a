"""Processes that were started while the database file was read-only go on by themselves once it can be written."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import httpx
import pytest
from chaos_kit.processes import Api, Worker

from service.embedded import EmbeddedValkey
from service.store.migrate import migrate
from service.testing import eventually
from workers.publishers.base import PublisherClass

NOBODY = 65534


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A folder that a user without rights may write; pytest's own are below one that is closed to others."""
    folder = Path(mkdtemp(prefix="everpost-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def give_away(folder: Path) -> None:
    """Let everything in it belong to that user, if this one can."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)


@pytest.mark.skipif(sys.platform != "linux", reason="it takes another user with setpriv")
async def test_what_was_started_while_the_file_was_read_only_goes_on_once_it_can_be_written() -> None:
    with folder_of_nobody() as folder:
        valkey = await EmbeddedValkey(folder / "valkey", durable=False).start()
        try:
            await start_read_only(folder, f"unix://{valkey.socket}")
        finally:
            await valkey.stop()


async def start_read_only(folder: Path, redis: str) -> None:
    database = folder / "everpost.db"
    migrate(database)
    settings = {
        "EVERPOST_DATA": str(folder),
        "EVERPOST_REDIS": redis,
        "EVERPOST_PORT": "0",
        "EVERPOST_LOG_FORMAT": "json",
        "EVERPOST_LEASE": "2",
    }
    api = Api("api", folder=folder, settings=settings)
    worker = Worker(
        "worker",
        folder=folder,
        settings=settings,
        effects=folder / "effects.jsonl",
        publisher_class=PublisherClass.KEYED,
        delay_ms=0,
    )
    database.chmod(0o400)
    give_away(folder)
    give_away(Path(redis.removeprefix("unix://")).parent)
    as_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    for process in (api, worker):
        process.run_with(as_user)
        await process.start()
    try:
        async with httpx.AsyncClient(base_url=api.address, timeout=10) as client:
            post = {"platform": 1, "account_id": "a"}
            refused = await client.post("/api/v1/publish", json=post)
            assert (refused.status_code, refused.json()["code"]) == (503, "database_unwritable")
            database.chmod(0o600)
            ids: list[str] = []

            async def is_accepted() -> bool:
                answer = await client.post("/api/v1/publish", json=post)
                ids.extend([answer.json()["task_id"]] if answer.status_code == httpx.codes.ACCEPTED else [])
                return bool(ids)

            await eventually(is_accepted, what="a post that is accepted")

            async def is_published() -> bool:
                answer = await client.get(f"/api/v1/tasks/{ids[0]}")
                return bool(answer.json()["data"]["status"] == "success")

            await eventually(is_published, what="a post that is published")
    finally:
        for process in (api, worker):
            process.kill()
