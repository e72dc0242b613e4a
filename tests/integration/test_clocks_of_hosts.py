"""Hosts whose clocks differ by minutes from Redis's and the database's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from everpost.clock import ServerClock, ServerTime, monotonic_ms, system_clock
from everpost.queue.task_queue import TaskQueue
from everpost.testing import Stack, everpost_stack
from store_rows import make_task

MINUTES_MS = 300_000
NEAR_MS = 5_000  # a busy machine takes so long between two looks at the clock


@asynccontextmanager
async def queue_of_host(stack: Stack, ahead_ms: int) -> AsyncIterator[TaskQueue]:
    """The queue as a process uses it whose clock is so far ahead of Redis's."""
    queue = TaskQueue.connect(stack.valkey.address, lambda: system_clock() + ahead_ms)
    yield queue
    await queue.close()


async def test_a_task_waits_as_long_as_it_should_whatever_the_difference_to_the_clock_of_redis() -> None:
    async with everpost_stack(workers=0) as stack:
        for ahead_ms in (MINUTES_MS, -MINUTES_MS):
            async with queue_of_host(stack, ahead_ms) as queue:
                await stack.queue.redis.flushall()
                due_ms = system_clock() + ahead_ms + 60_000
                now, later = make_task("now"), make_task("later", due_at_ms=due_ms)
                await queue.enqueuer.restore_tasks([later, now])
                assert abs(await stack.queue.redis.zscore("arq:queue", "later") - system_clock() - 60_000) < NEAR_MS
                assert abs((await queue.jobs.due_times(["later", "now"])).pop("later") - due_ms) < NEAR_MS
                assert await queue.losses.missing_among([later, now]) == []
                depth = (await queue.jobs.depths())[5]
                assert (depth.ready, depth.later) == (1, 1)
                assert await queue.jobs.longest_wait_ms() < NEAR_MS
                await withdrawals_and_reports_are_as_old_as_redis_says(queue, stack.queue)
        due_at_ms = system_clock() + 60_000  # kept to the millisecond if the clocks are equal
        await stack.queue.enqueuer.restore_tasks([make_task("exact", due_at_ms=due_at_ms)])
        assert await stack.queue.redis.zscore("arq:queue", "exact") == due_at_ms
        assert await stack.queue.jobs.due_times(["exact"]) == {"exact": due_at_ms}


async def withdrawals_and_reports_are_as_old_as_redis_says(queue: TaskQueue, other: TaskQueue) -> None:
    assert await queue.jobs.withdraw_task("now")
    assert await other.losses.old_withdrawals(10) == []
    await queue.workers.announce("far", {"consuming": True}, 30)
    assert [facts["worker"] for facts in await other.workers.living()] == ["far"]
    assert await other.workers.dead() == []
    await queue.workers.announce("far", {"consuming": True}, -1)
    assert await other.workers.living() == []
    assert await queue.workers.dead() == [b"far"]


def told(server_ms: int, *, took_ms: float) -> ServerTime:
    """An answer that comes now."""
    return ServerTime(server_ms, monotonic_ms() - took_ms, monotonic_ms())


def test_a_server_s_clock_is_followed_and_not_by_answers_that_are_too_slow_to_tell_more() -> None:
    clock = ServerClock()
    assert abs(clock.host_ahead_ms) < NEAR_MS
    clock.learn(told(system_clock() - MINUTES_MS, took_ms=2))
    assert abs(clock.host_ahead_ms - MINUTES_MS) < NEAR_MS
    before = clock()
    clock.learn(told(before - 20_000, took_ms=80_000))  # it may be right: the server may have read it long ago
    assert abs(clock() - before) < NEAR_MS
    clock.learn(told(before + 2 * MINUTES_MS, took_ms=2))  # it was set
    assert abs(clock() - before - 2 * MINUTES_MS) < NEAR_MS
