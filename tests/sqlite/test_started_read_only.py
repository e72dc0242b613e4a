"""Processes that were started while the database file was read-only go on by themselves once it can be written."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from chaos_kit.processes import Api, Worker
from everpost.embedded import EmbeddedValkey
from everpost.publishing import PublisherClass
from everpost.store.sqlite.schema.migrate import migrate
from everpost.testing import eventually

LIKE_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # even root then needs permission


def prefix() -> list[str]:
    """What runs a program without root's right to write what is read-only; nothing where this user has it not."""
    if os.geteuid() != 0:
        return []
    tried = subprocess.run([*LIKE_ANYBODY, sys.executable, "-c", ""], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"root cannot be made to need permission here: {tried.stderr.decode()}")
    return LIKE_ANYBODY


@pytest.mark.skipif(sys.platform != "linux", reason="it takes setpriv where root runs it")
async def test_processes_started_while_the_file_was_read_only_continue_once_it_is_writable(tmp_path: Path) -> None:
    valkey = await EmbeddedValkey(tmp_path / "valkey", durable=False).start()
    try:
        await start_read_only(tmp_path, valkey.address)
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
    for process in (api, worker):
        process.run_with(prefix())
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
