"""Rates of API keys: shared by all API processes, and kept by each of them while Redis is away."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest_asyncio

from api_support import assert_problem, running_valkey, serving
from everpost.access import KeyRate, Role
from everpost.api.http.rates import OwnRates
from everpost.embedded import EmbeddedValkey
from everpost.testing import eventually
from integration.test_keys import TOKEN, client, make

WHO = "/api/v1/whoami"
SLOW = {"count": 3, "per_s": 3_600}


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    async with running_valkey(tmp_path) as server:
        yield server


async def statuses(caller: httpx.AsyncClient, requests: int) -> list[int]:
    return [(await caller.get(WHO)).status_code for _ in range(requests)]


async def test_a_key_makes_so_many_requests_at_all_processes_together(tmp_path: Path, valkey: EmbeddedValkey) -> None:
    async with serving(tmp_path, valkey, token=TOKEN) as one, serving(tmp_path, valkey, token=TOKEN) as two:
        key = await make(one, "bot", Role.VIEWER, rate=SLOW)
        free = await make(one, "free", Role.VIEWER)
        async with client(one, key) as here, client(two, key) as there, client(one, free) as unlimited:
            assert await statuses(here, 2) == [200, 200]

            async def is_known() -> bool:
                return (await there.get(WHO)).status_code != 401

            await eventually(is_known)  # it takes the third
            for bot in (here, there):
                refused = await bot.get(WHO)
                problem = assert_problem(refused, 429, "rate_limited")
                assert 1_100 < problem["retry_after"] <= 1_200
                assert refused.headers["retry-after"] == str(problem["retry_after"])
            assert set(await statuses(unlimited, 5)) == {200}


async def test_the_rate_comes_back_with_time(tmp_path: Path, valkey: EmbeddedValkey) -> None:
    async with serving(tmp_path, valkey, token=TOKEN) as api:
        key = await make(api, "bot", Role.VIEWER, rate={"count": 2, "per_s": 0.5})
        async with client(api, key) as bot:
            assert await statuses(bot, 3) == [200, 200, 429]

            async def may_come() -> bool:
                return (await bot.get(WHO)).status_code == 200

            await eventually(may_come)


async def test_without_redis_each_process_counts_for_itself(tmp_path: Path) -> None:
    async with serving(tmp_path, None, token=TOKEN) as api:
        key = await make(api, "bot", Role.VIEWER, rate=SLOW)
        async with client(api, key) as bot:
            assert await statuses(bot, 5) == [200, 200, 200, 429, 429]


def test_the_own_count_lets_as_many_in_as_the_rate_says() -> None:
    rates, rate = OwnRates(), KeyRate(count=4, per_s=2)
    assert [rates.take("a", rate, 10.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rates.take("b", rate, 10.0) == 0
    assert rates.take("a", rate, 10.5) == 0
    assert rates.take("a", rate, 10.5) == 0.5
    assert sum(rates.take("a", rate, 11 + step / 10) == 0 for step in range(100)) == 20
