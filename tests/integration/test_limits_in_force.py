"""Limits as the platform sees them: never exceeded by any number of workers, also when Redis is emptied."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any, cast

import pytest

from everpost.clock import system_clock
from everpost.publishing import PublishJob, PublishResult, RateLimitedError
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

DOUYIN = {"platform": "douyin"}
SHOP = {"platform": "douyin", "account_id": "shop"}


class Watched(PublisherDouble):
    """A platform that notes when each post began, and how many of an account ran at once.

    Attributes:
        takes_s: How long a post takes.
    """

    def __init__(self, takes_s: float = 0.02) -> None:
        super().__init__()
        self.takes_s = takes_s
        self.began: list[tuple[float, str]] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def publish(self, job: PublishJob) -> PublishResult:
        account = str(job.data["account_id"])
        self.began.append((asyncio.get_running_loop().time(), account))
        for name in (account, "all"):
            self.running[name] += 1
            self.most[name] = max(self.most[name], self.running[name])
        try:
            await asyncio.sleep(self.takes_s)
            return await super().publish(job)
        finally:
            for name in (account, "all"):
                self.running[name] -= 1


async def set_limits(stack: Stack, limits: dict[str, Any] | None, **scope: Any) -> None:
    answer = await stack.client.put("/api/v1/limits", json={"limits": limits, **scope})
    assert answer.status_code == 200, answer.text


async def publish(stack: Stack, count: int, **fields: Any) -> list[str]:
    return [await stack.publish(**{**SHOP, **fields}) for _ in range(count)]


async def ended(stack: Stack, task_ids: list[str]) -> set[str]:
    return {(await stack.wait_until_ended(task_id))["status"] for task_id in task_ids}


async def test_no_more_tasks_run_at_once_than_may_and_none_waits_for_nothing() -> None:
    publisher = Watched()
    async with everpost_stack(workers=0, publisher=publisher) as stack:
        await set_limits(stack, {"concurrency": 3}, **DOUYIN)
        await set_limits(stack, {"concurrency": 1}, **DOUYIN, each_account=True)
        for _ in range(2):
            await stack.start_worker()
        tasks = [task for account in "abcd" for task in await publish(stack, 4, account_id=account)]
        other = await publish(stack, 3, platform="bilibili", account_id="other")
        assert await ended(stack, tasks + other) == {"success"}
    assert [publisher.most[account] for account in "abcd"] == [1, 1, 1, 1]
    assert publisher.most["all"] >= 3
    assert Counter(job.task_id for job in publisher.published) == Counter(tasks + other)
    assert all(len(job.data["account_id"]) == 1 or job.platform.name == "bilibili" for job in publisher.published)


async def test_accounts_that_share_a_limit_take_turns() -> None:
    publisher = Watched(takes_s=0)
    async with everpost_stack(workers=0, publisher=publisher) as stack:
        await set_limits(stack, {"concurrency": 1}, **DOUYIN)
        many = await publish(stack, 12, account_id="many")
        few = await publish(stack, 3, account_id="few")
        await stack.start_worker()
        assert await ended(stack, many + few) == {"success"}
    order = [account for _, account in publisher.began]
    assert "few" in order[:3]
    assert (
        len(order) - order[::-1].index("few") <= 2 * len(few) + 2
    )  # its last one: at most one of the other between two


async def test_a_rate_and_a_gap_hold_and_the_next_task_begins_when_they_allow_it() -> None:
    """Exactly how many begin when is shown by `test_gate_model.py`; here the platform sees that it takes its time."""
    publisher = Watched(takes_s=0)
    async with everpost_stack(workers=0, publisher=publisher) as stack:
        await set_limits(stack, {"rates": [{"count": 3, "per_s": 0.6}], "gap_s": 0.1}, **SHOP)
        for _ in range(2):
            await stack.start_worker()
        started_s = asyncio.get_running_loop().time()
        tasks = await publish(stack, 8)
        assert await ended(stack, tasks) == {"success"}
    times = sorted(at - started_s for at, _ in publisher.began)
    assert times[2] >= 2 * 0.1
    assert times[3] >= 0.6
    assert times[6] >= 2 * 0.6


async def test_a_daily_limit_is_counted_from_the_database_after_redis_was_emptied() -> None:
    async with everpost_stack(workers=0, lease=1.0) as stack:
        await set_limits(stack, {"daily": 2}, **SHOP)
        await stack.start_worker()
        assert await ended(stack, await publish(stack, 2)) == {"success"}
        await stack.flush_redis()
        third = (await publish(stack, 1))[0]

        async def waits_for_tomorrow() -> bool:
            waits_for = (await stack.task(third))["waits_for"]
            return waits_for is not None and waits_for["kind"] == "daily"

        await eventually(waits_for_tomorrow, what="the third task to wait for the next day")
        until = (await stack.task(third))["waits_for"]["until"]
        assert until.endswith("T00:00:00.000Z")
        shown = (await stack.client.get("/api/v1/limits")).json()
        (scope,) = [scope for scope in shown["data"] if scope["scope"] == "douyin/shop"]
        assert (shown["parked"], scope["use"]["waiting"], scope["use"]["used_today"]) == (1, 1, 2)
        assert len(stack.publisher.attempts) == 2
        await set_limits(stack, None, **SHOP)
        assert await ended(stack, [third]) == {"success"}


async def test_an_emptied_redis_admits_nothing_before_it_knows_what_runs() -> None:
    async with everpost_stack(workers=0, lease=1.0) as stack:
        await set_limits(stack, {"concurrency": 2}, **DOUYIN)
        await stack.start_worker()
        stack.publisher.hold()
        tasks = await publish(stack, 4)
        await eventually(lambda: has_begun(stack, 2), what="two attempts")
        await stack.flush_redis()
        tasks += await publish(stack, 2)  # claimed before any worker has reported what it runs
        closed_ms = system_clock() + 1_000

        async def has_counted() -> bool:
            return await stack.queue.redis.zcard("everpost:permits:douyin") == 2 and system_clock() > closed_ms

        await eventually(has_counted, what="the permits of what runs")
        await eventually(lambda: has_parked(stack, 4), what="the others to wait")
        assert len(stack.publisher.attempts) == 2
        stack.publisher.release()
        assert await ended(stack, tasks) == {"success"}
        assert [stack.publisher.times_published(task_id) for task_id in tasks] == [1] * 6


async def has_begun(stack: Stack, count: int) -> bool:
    return len(stack.publisher.attempts) == count


async def has_parked(stack: Stack, count: int) -> bool:
    return await stack.queue.gates.count_parked() == count


async def test_an_answer_too_fast_holds_back_the_account_and_no_other() -> None:
    async with everpost_stack() as stack:
        stack.publisher.fail_next(RateLimitedError("slow down", retry_after_s=1.5))
        first = (await publish(stack, 1))[0]
        await eventually(lambda: has_begun(stack, 1), what="the first attempt")
        others = await publish(stack, 2)
        free = await publish(stack, 1, account_id="free")
        assert await ended(stack, free) == {"success"}
        await eventually(lambda: has_parked(stack, 2), what="two parked tasks")
        waits_for = (await stack.task(others[0]))["waits_for"]
        assert (waits_for["kind"], waits_for["scope"]) == ("rate_limited", "douyin/shop")
        assert waits_for["until"] is not None
        assert len(stack.publisher.attempts) == 2
        assert await ended(stack, [first, *others]) == {"success"}
        assert [(await stack.task(task_id))["attempts_spent"] for task_id in others] == [None, None]


async def test_limits_can_be_set_shown_and_taken_back_while_workers_run() -> None:
    async with everpost_stack() as stack:
        await set_limits(stack, {"concurrency": 1, "gap_s": 0.5, "daily": 7}, **SHOP)
        await set_limits(stack, {"rates": [{"count": 5, "per_s": 60}]})
        shown = (await stack.client.get("/api/v1/limits")).json()
        assert {scope["scope"]: scope["limits"] for scope in shown["data"]} == {
            "*": {"rates": [{"count": 5, "per_s": 60.0}]},
            "douyin/shop": {"concurrency": 1, "gap_s": 0.5, "daily": 7},
        }
        await set_limits(stack, None, **SHOP)
        await set_limits(stack, None)
        assert (await stack.client.get("/api/v1/limits")).json()["data"] == []
        assert await ended(stack, await publish(stack, 6)) == {"success"}


async def test_keys_of_the_gate_that_another_program_overwrote_hold_up_no_task() -> None:
    async with everpost_stack(workers=0, lease=1.0) as stack:
        await set_limits(stack, {"concurrency": 1, "gap_s": 0.001, "daily": 100}, **SHOP)
        await stack.start_worker()
        assert await ended(stack, await publish(stack, 1)) == {"success"}
        redis = stack.queue.redis
        for key in [key.decode() for key in await redis.keys("everpost:*")]:
            if key.split(":")[1] in {"limits", "permits", "uses", "day", "openings", "lanes", "gate", "coming"}:
                await redis.delete(key)
                await redis.set(key, "another program's")
        await redis.set("everpost:permits:douyin/shop", "another program's")
        assert await ended(stack, await publish(stack, 2)) == {"success"}
        await cast("Awaitable[int]", redis.hset("everpost:limits", "douyin/shop", "no msgpack"))
        assert await ended(stack, await publish(stack, 2)) == {"success"}
        assert len(stack.publisher.published) == 5


SENSELESS = [
    ({"limits": {"concurrency": 0}}, "$.limits.concurrency"),
    ({"limits": {"concurrency": "2"}}, "$.limits.concurrency"),
    ({"limits": {"rates": [{"count": 1, "per_s": 0}]}}, "$.limits.rates[0].per_s"),
    ({"limits": {"rates": [{"count": 1, "per_s": 1}] * 9}}, "$.limits.rates"),
    ({"limits": {"gap_s": 1e9}}, "$.limits.gap_s"),
    ({"limits": {"speed": 1}}, "$.limits"),
    ({"platform": "douyin"}, "$"),
    ({"platform": "nowhere", "limits": None}, "$.platform"),
    ({"each_account": True, "limits": None}, "$.each_account"),
    ({"platform": "douyin", "account_id": "a", "each_account": True, "limits": None}, "$.each_account"),
]


async def test_limits_that_make_no_sense_are_refused() -> None:
    async with everpost_stack(workers=0) as stack:
        for body, path in SENSELESS:
            answer = await stack.client.put("/api/v1/limits", json=body)
            assert (answer.status_code, answer.json().get("path")) == (422, path), answer.text
        assert await stack.store.limits.version() == 0
