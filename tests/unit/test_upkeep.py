import asyncio
import itertools
import math
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from everpost.clock import system_boot_clock, system_clock
from everpost.errors import QueueUnreachable
from everpost.settings import Settings
from everpost_workers.upkeep import duties as upkeep
from everpost_workers.upkeep.duties import COUNT_EVERY_S, LONG_REST, REST, Duties, Upkeep, worker_duties
from everpost_workers.upkeep.leadership import Leadership


class Index:
    """Has rows to index twice."""

    def __init__(self) -> None:
        self.left = 3
        self.repair_counts = None

    async def fill_search(self, limit: int) -> int:
        del limit
        self.left -= 1
        return max(0, self.left)


@pytest.mark.parametrize(("is_busy", "rest"), [(True, LONG_REST), (False, REST)])
async def test_the_search_index_rests_longer_while_tasks_are_run(
    is_busy: bool, rest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    loop = SimpleNamespace(time=partial(next, itertools.count()))  # a step takes a second
    monkeypatch.setattr(upkeep, "asyncio", SimpleNamespace(sleep=sleep, get_running_loop=lambda: loop))
    leadership = Leadership(cast("Any", None), "worker", lambda: True)
    leadership._leads_until = math.inf
    await duties_of(leadership, Index(), is_busy=is_busy)["search"][1]()
    assert rests == [rest, rest]


async def test_only_the_leader_fills_the_search() -> None:
    leadership, index = Leadership(cast("Any", None), "worker", lambda: True), Index()
    filling = asyncio.ensure_future(duties_of(leadership, index)["search"][1]())
    done, _ = await asyncio.wait([filling], timeout=0.05)
    assert not done
    assert index.left == Index().left
    leadership._leads_until = math.inf
    leadership._gained.set()
    await filling
    assert index.left == 0


def duties_of(leadership: Leadership, index: Index, *, is_busy: bool = False) -> Duties:
    return worker_duties(
        relay=SimpleNamespace(tick=None),  # type: ignore[arg-type]
        store=cast("Any", SimpleNamespace(care=index)),
        results=cast("Any", SimpleNamespace(tick=None)),
        settings=Settings(),
        clock=system_clock,
        boot_clock=system_boot_clock,
        leadership=leadership,
        is_busy=lambda: is_busy,
        read_numbers=cast("Any", None),
    )


@pytest.mark.parametrize("error", [QueueUnreachable("away"), RuntimeError("a defect")])
async def test_a_duty_that_failed_is_tried_again_soon_and_then_more_rarely(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    failing = [True] * 10 + [False, True, False]

    async def duty() -> None:
        if failing.pop(0):
            raise error

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        if not failing:
            raise asyncio.CancelledError

    monkeypatch.setattr(upkeep, "asyncio", SimpleNamespace(sleep=sleep, create_task=asyncio.create_task))
    keeper = Upkeep()
    keeper.begin({"counts": (COUNT_EVERY_S, duty)})
    await asyncio.wait(keeper._loops)
    assert rests == [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, COUNT_EVERY_S, 15, COUNT_EVERY_S]
    assert keeper.failures == {}
