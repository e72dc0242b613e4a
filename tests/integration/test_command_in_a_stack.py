"""The publisher `command` in a running Everpost: progress, checkpoints, look-ups, secrets, and workers that stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from command_kit import is_running, pids_in
from everpost.testing import Stack, eventually, everpost_stack
from everpost_workers.engine import BatchWorker
from everpost_workers.main import create_worker
from everpost_workers.publishers.command.publisher import CommandPublisher

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

SECRET = "c4nary-of-the-uploader"
PLATFORM = '[platforms.uploads]\nid = 120\npublisher = "command"\noptions = '


@asynccontextmanager
async def stack_with(folder: Path, script: str, **options: Any) -> AsyncIterator[tuple[Stack, BatchWorker]]:
    given: dict[str, Any] = {"command": ["/bin/sh", "-c", script], "grace_s": 0.1, **options}
    inline = ", ".join(f"{name} = {msgspec.json.encode(value).decode()}" for name, value in given.items())
    (folder / "platforms.toml").write_text(f"{PLATFORM}{{ {inline} }}\n", "utf-8")
    async with everpost_stack(workers=0, platforms=folder / "platforms.toml", shutdown_wait=0.5) as stack:
        worker = create_worker(stack.settings, publishers={"command": CommandPublisher}, handle_signals=False)
        run = asyncio.create_task(worker.async_run())
        try:
            yield stack, worker
        finally:
            await worker.close()
            await asyncio.gather(run, return_exceptions=True)


async def test_a_secret_that_a_program_prints_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERPOST_ACCOUNT_UPLOADS", SECRET)
    script = """echo '{"type":"checkpoint","data":{"seen":1}}'; read -r saved <&3
        echo "{\\"type\\":\\"status\\",\\"words\\":\\"$CREDENTIAL_TOKEN\\"}"
        echo "token: $CREDENTIAL_TOKEN" >&2; exit 1"""
    async with stack_with(tmp_path, script) as (stack, _):
        body = {"platform": "uploads", "account_id": "main", "credentials": {"token": "env:EVERPOST_ACCOUNT_UPLOADS"}}
        answer = await stack.client.post("/api/v1/accounts", json=body)
        assert answer.status_code == 201, answer.text
        task_id = await stack.publish(platform="uploads", account_id="main", title="t")
        task = await stack.wait_until_ended(task_id)
    assert (task["status"], task["checkpoint"]) == ("unknown", {"seen": 1})
    assert "token: ***" in task["error_message"]
    assert SECRET not in str(task)


async def test_a_stopped_worker_leaves_no_program_and_its_post_is_looked_up_and_made_once(tmp_path: Path) -> None:
    posted, pid = tmp_path / "posted", tmp_path / "pid"
    script = f"echo $$ > {pid}; echo x >> {posted}; sleep 300"
    look_up = (
        f"""[ -s {posted} ] && echo '{{"type":"result","provider_post_id":"p1"}}' || echo '{{"type":"not_found"}}'"""
    )
    options = {"look_up": ["/bin/sh", "-c", look_up]}
    async with stack_with(tmp_path, script, **options) as (stack, worker):
        task_id = await stack.publish(platform="uploads", title="t")
        await eventually(lambda: asyncio.to_thread(pids_in, pid))
        await worker.close()
        assert not any(map(is_running, pids_in(pid)))
        again = create_worker(stack.settings, publishers={"command": CommandPublisher}, handle_signals=False)
        run = asyncio.create_task(again.async_run())
        task = await stack.wait_until_ended(task_id)
        await again.close()
        await asyncio.gather(run, return_exceptions=True)
    assert (task["status"], task["provider_post_id"]) == ("success", "p1")
    assert posted.read_text() == "x\n"


async def test_a_cancelled_task_leaves_no_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with stack_with(tmp_path, f"echo $$ > {pid}; sleep 300") as (stack, _):
        task_id = await stack.publish(platform="uploads", title="t")
        await eventually(lambda: asyncio.to_thread(pids_in, pid))
        answer = await stack.client.post(f"/api/v1/tasks/cancel/{task_id}", params={"force": "true"})
        assert answer.status_code == 202, answer.text
        assert (await stack.wait_until_ended(task_id))["status"] == "unknown"

        async def has_ended() -> bool:
            return not any(map(is_running, pids_in(pid)))

        await eventually(has_ended)
