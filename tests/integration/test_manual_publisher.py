"""The publisher `manual`: a task waits for the person who posts it, and ends by that person's decision."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from everpost.platforms import Platform
from everpost.publishing import ManualError, PublishJob
from everpost.settings import Settings
from everpost.task.model import BytesSent
from everpost.testing import Stack, everpost_stack
from everpost_workers.main import create_worker
from everpost_workers.publishers.manual import ManualPublisher

PLATFORM = Platform(id=11, name="manual", title="Our magazine", publisher="manual")
PLATFORMS = '[platforms.magazine]\nid = 111\ntitle = "Our magazine"\npublisher = "manual"\n'


async def test_it_says_where_to_post_and_that_nothing_was_sent() -> None:
    job = PublishJob(task_id="t1", data={"title": "t"}, platform=PLATFORM, idempotency_key="k" * 32)
    with pytest.raises(ManualError, match=r"^Post it on Our magazine, and then decide\.$"):
        await ManualPublisher({}, Settings()).publish(job)
    assert job.trace.evidence(None).bytes_sent is BytesSent.NO


async def decide(stack: Stack, task_id: str, **decision: Any) -> httpx.Response:
    return await stack.client.post(
        f"/api/v1/tasks/{task_id}/resolve", json={"by": "mei", "why": "I posted it", **decision}
    )


async def tasks_of_persons(stack: Stack) -> list[str]:
    params = {"status": "unknown", "error_class": "manual"}
    return [row["task_id"] for row in (await stack.client.get("/api/v1/tasks", params=params)).json()["data"]]


@asynccontextmanager
async def worker_of(stack: Stack) -> AsyncIterator[None]:
    worker = create_worker(stack.settings, publishers={"manual": ManualPublisher}, handle_signals=False)
    run = asyncio.create_task(worker.async_run())
    try:
        yield
    finally:
        await worker.close()
        await asyncio.gather(run, return_exceptions=True)


@pytest.mark.usefixtures("both_stores_in_chaos")
async def test_a_person_posts_it_and_says_so(tmp_path: Path) -> None:
    catalogue = tmp_path / "platforms.toml"
    catalogue.write_text(PLATFORMS, "utf-8")
    async with everpost_stack(workers=0, platforms=catalogue) as stack, worker_of(stack):
        task_id = await stack.publish(platform="magazine", title="t")
        task = await stack.wait_until_ended(task_id)
        assert (task["status"], task["error_class"]) == ("unknown", "manual")
        assert task["error_message"] == "Post it on Our magazine as account, and then decide."
        assert task["attempts"][0]["evidence"]["bytes_sent"] == "no"
        assert await tasks_of_persons(stack) == [task_id]
        answer = await decide(stack, task_id, decision="send_again")
        assert answer.status_code == 200, answer.text
        again = answer.json()["data"]["new_task_id"]
        await stack.wait_until_ended(again)
        assert await tasks_of_persons(stack) == [again]
        answer = await decide(stack, again, decision="succeeded", publish_url="https://example.org/p1")
        assert answer.status_code == 200, answer.text
        task = await stack.task(again)
        assert (task["status"], task["publish_url"]) == ("success", "https://example.org/p1")
        assert await tasks_of_persons(stack) == []
