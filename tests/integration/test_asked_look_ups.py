"""Look-ups that people ask for: a worker asks the platform, and decides nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from api_support import assert_problem
from everpost.publishing import PublisherClass
from everpost.store.look_ups import KEPT_MS, MOST, Finding, answer_look_up, ask_look_up, find_look_up, take_look_up
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

NOW_MS = 1_790_000_000_000


async def unknown_task(stack: Stack) -> str:
    stack.publisher.fail_look_ups(ConnectionResetError("not now"))
    stack.publisher.lose_next_answer()
    task_id = await stack.publish(title="lost")
    await stack.drain()
    stack.publisher._look_up_error = None
    return task_id


async def looked_up(stack: Stack, task_id: str) -> dict[str, Any]:
    asked = await stack.client.post(f"/api/v1/tasks/{task_id}/look-up")
    assert (asked.status_code, asked.json()["data"]["finding"]) == (202, None)

    async def answered() -> dict[str, Any] | None:
        data = (await stack.client.get(f"/api/v1/tasks/{task_id}/look-up")).json()["data"]
        return data if data["finding"] else None

    found: dict[str, Any] | None = await eventually(answered)
    assert found is not None
    return found


@pytest.fixture
def checkable() -> PublisherDouble:
    return PublisherDouble(PublisherClass.CHECKABLE)


@pytest.fixture
async def idle() -> AsyncIterator[Stack]:
    async with everpost_stack(workers=0) as stack:
        yield stack


async def test_a_post_that_is_there_is_found(checkable: PublisherDouble) -> None:
    async with everpost_stack(publisher=checkable) as stack:
        task_id = await unknown_task(stack)
        found = await looked_up(stack, task_id)
        assert (found["finding"], found["publish_url"]) == ("found", f"https://example.test/{task_id}")
        task = (await stack.client.get(f"/api/v1/tasks/{task_id}")).json()["data"]
        assert (task["status"], task["decisions"]) == ("unknown", [])
        checkable.published.clear()
        assert (await looked_up(stack, task_id))["finding"] == "not_found"
        checkable.fail_look_ups(ConnectionResetError("the line broke"))
        silent = await looked_up(stack, task_id)
        assert (silent["finding"], "the line broke" in silent["said"]) == ("no_verdict", True)


async def test_a_publisher_without_look_ups_says_so(everpost: Stack) -> None:
    task_id = await unknown_task(everpost)
    found = await looked_up(everpost, task_id)
    assert (found["finding"], "cannot look posts up" in found["said"]) == ("cannot", True)
    assert everpost.publisher.looked_up == []


async def test_only_tasks_of_unknown_outcome_are_looked_up(everpost: Stack) -> None:
    task_id = await everpost.publish(title="fine")
    await everpost.drain()
    assert_problem(await everpost.client.post(f"/api/v1/tasks/{task_id}/look-up"), 409, "nothing_to_decide")
    assert_problem(await everpost.client.post("/api/v1/tasks/nobody/look-up"), 404, "task_not_found")
    assert (await everpost.client.get(f"/api/v1/tasks/{task_id}/look-up")).json()["data"] is None


async def test_each_look_up_is_made_by_one_worker_and_kept_for_a_while(idle: Stack) -> None:
    meta = idle.store.meta
    await asyncio.gather(*(ask_look_up(meta, f"t{number}", NOW_MS) for number in range(3)))
    again = await ask_look_up(meta, "t0", NOW_MS + 1)
    assert again.asked_ms == NOW_MS
    taken = await asyncio.gather(*(take_look_up(meta, f"w{number}", NOW_MS) for number in range(5)))
    assert sorted(one.task_id for one in taken if one) == ["t0", "t1", "t2"]
    first = next(one for one in taken if one)
    await answer_look_up(meta, msgspec.structs.replace(first, finding=Finding.FOUND), NOW_MS)
    await answer_look_up(meta, msgspec.structs.replace(first, asked_ms=1, finding=Finding.CANNOT), NOW_MS)
    kept = await find_look_up(meta, first.task_id)
    assert kept is not None
    assert kept.finding is Finding.FOUND
    for number in range(MOST + 5):
        await ask_look_up(meta, f"n{number}", NOW_MS + KEPT_MS)
    assert await find_look_up(meta, "t0") is None
