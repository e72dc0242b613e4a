"""Callbacks of ends that a client causes are in the queue before the client is answered: here, no relay runs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from everpost.task.model import TaskStatus
from everpost.testing import Stack
from integration.test_callbacks import calling
from store_contract.making import record_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

URL = "https://example.com/hook"


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with calling(tmp_path, workers=0) as stack:
        yield stack


async def queued(stack: Stack, *webhook_ids: str) -> list[str]:
    """Those of the callbacks that Redis has."""
    found = await stack.queue.jobs.find_tasks([f"{one}.callback" for one in webhook_ids])
    return [one for one in webhook_ids if found.get(f"{one}.callback") is not None]


async def post(stack: Stack, path: str, **body: Any) -> dict[str, Any]:
    answer = await stack.client.post(f"/api/v1/{path}", json=body)
    assert answer.status_code in {200, 202}, answer.text
    answered: dict[str, Any] = answer.json()
    return answered


async def test_a_cancellation_a_replacement_and_a_decision_queue_their_callbacks(stack: Stack) -> None:
    cancelled, replaced, unknown, resent = [await stack.publish(callback_url=URL) for _ in range(4)]
    await post(stack, f"tasks/cancel/{cancelled}")
    await post(stack, f"tasks/retry/{replaced}")
    await stack.store.ledger.end([record_of(task_id, TaskStatus.UNKNOWN) for task_id in (unknown, resent)])
    grounds = {"by": "mei", "why": "I looked"}
    await post(stack, f"tasks/{unknown}/resolve", decision="succeeded", **grounds)
    await post(stack, f"tasks/{resent}/resolve", decision="send_again", **grounds)
    wanted = [f"{cancelled}.cancelled", f"{replaced}.cancelled", f"{unknown}.success", f"{resent}.cancelled"]
    assert await queued(stack, *wanted) == wanted


async def test_bulk_work_queues_the_callbacks_of_its_tasks_and_of_their_batch(stack: Stack) -> None:
    accounts = [{"platform": 1, "account_id": name} for name in ("x", "y")]
    fanout = await post(stack, "publish/fanout", content={"title": "t"}, accounts=accounts, callback_url=URL)
    first, second = [item["task_id"] for item in fanout["results"]]
    await post(stack, f"tasks/cancel/{first}")
    await post(stack, f"publish/fanout/{fanout['fanout_id']}/cancel")
    wanted = [f"{first}.cancelled", f"{second}.cancelled", f"{fanout['fanout_id']}.1"]
    assert await queued(stack, *wanted) == wanted
    for task_id in (first, second):
        await post(stack, f"tasks/retry/{task_id}")
    await post(stack, f"publish/fanout/{fanout['fanout_id']}/cancel")
    assert await queued(stack, f"{fanout['fanout_id']}.2") == [f"{fanout['fanout_id']}.2"]
