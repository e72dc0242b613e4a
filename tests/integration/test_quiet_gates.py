"""A gate without limits rests, and still learns in time of what other processes change."""

from datetime import UTC
from functools import partial
from typing import Any

import pytest

from everpost.clock import system_clock
from everpost.errors import QueueUnreachable
from everpost.platforms import Catalogue
from everpost.queue.gates import Told
from everpost.store.limits import CLOSED
from everpost.task.holds import Hold, WaitKind, with_hold
from everpost.testing import Stack, eventually, everpost_stack
from everpost_workers.gates import gate
from everpost_workers.gates.known import WATCHED, KnownLimits

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

SHOP = {"platform": "douyin", "account_id": "shop"}
PAUSED = Hold(kind=WaitKind.PAUSED, reason="It is down.", since="")


@pytest.fixture
def _gates_that_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "QUIET_TURNS", 1)
    monkeypatch.setattr(gate, "QUIET_S", 600.0)


async def waits_for(stack: Stack) -> Any:
    """What a task waits for that is published now; None if it has ended."""

    async def find(task_id: str) -> dict[str, Any] | None:
        task = await stack.task(task_id)
        return task if task["status"] == "success" or task["waits_for"] else None

    task_id = await stack.publish(**SHOP)
    task = await eventually(partial(find, task_id), what="an end, or a reason to wait")
    return None if task is None else task["waits_for"]


@pytest.mark.usefixtures("_gates_that_rest")
async def test_a_gate_that_rests_learns_of_a_lane_that_another_worker_has_closed() -> None:
    async with everpost_stack() as stack:
        assert await waits_for(stack) is None
        await stack.store.limits.close("douyin/shop", system_clock() + 60_000)
        await stack.queue.gates.turn(Told(closed=["douyin/shop", 60_000]))

        async def is_closed() -> bool:
            found = await waits_for(stack)
            return found is not None and found["kind"] == "rate_limited"

        await eventually(is_closed, what="a task that waits")
        assert await stack.store.meta.get(CLOSED) is not None


@pytest.mark.usefixtures("_gates_that_rest")
async def test_a_gate_that_rests_learns_of_a_pause() -> None:
    async with everpost_stack() as stack:
        assert await waits_for(stack) is None
        await stack.store.limits.change("douyin", with_hold(PAUSED), system_clock())

        async def is_paused() -> bool:
            found = await waits_for(stack)
            return found is not None and found["kind"] == "paused"

        await eventually(is_paused, what="a task that waits")


async def test_limits_that_redis_could_not_be_told_are_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with everpost_stack(workers=0) as stack:
        known = KnownLimits(stack.store, stack.queue, system_clock, Catalogue.read(), UTC)
        await known.read()
        await known.tell()
        await stack.store.limits.change("douyin", with_hold(PAUSED), system_clock())

        async def refuse(*_: Any, **__: Any) -> bool:
            raise QueueUnreachable

        known.notice(await stack.store.meta.get_all(WATCHED))
        with monkeypatch.context() as patch:
            patch.setattr(stack.queue.gates, "tell_limits", refuse)
            with pytest.raises(QueueUnreachable):
                await known.refresh()
        known.notice(await stack.store.meta.get_all(WATCHED))
        await known.refresh()
        assert (await stack.queue.gates.turn()).version == 1
