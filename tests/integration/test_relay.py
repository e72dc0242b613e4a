"""The relay: jobs that Redis lost go back into their queues at once, and only once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from everpost.clock import system_clock, to_text
from everpost.errors import QueueUnreachable
from everpost.queue.enqueuer import Enqueuer
from everpost.queue.keys import QUEUE_NAMES, WITHDRAWALS_KEY
from everpost.queue.losses import Entry, Losses
from everpost.queue.task_queue import TaskQueue
from everpost.store.meta import LEADER
from everpost.task.model import WITHDRAWN_S, Task
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from everpost_workers.upkeep import leadership
from everpost_workers.upkeep.leadership import Mark
from everpost_workers.upkeep.relay import EVICTED_SWEEP_MS, FRESH_MS, Relay
from store_kit import kit_of
from store_rows import end, make_task

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

HOUR_MS = 3_600_000


def later_clock() -> int:
    """A time at which everything accepted so far is old enough to be looked for."""
    return system_clock() + 2 * FRESH_MS


class LosingQueue(TaskQueue):
    """A queue to which something happens after it was asked what is missing: its Redis goes away, or a task ends."""

    losses: "EventfulLosses"
    enqueuer: "LosingEnqueuer"

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.losses = EventfulLosses(self.server, system_clock)
        self.enqueuer = LosingEnqueuer(self.server, system_clock)


class EventfulLosses(Losses):
    before_restore: Callable[[], Awaitable[None]] | None = None

    async def missing_among(self, tasks: Sequence[Entry]) -> list[Entry]:
        missing = await super().missing_among(tasks)
        if self.before_restore is not None:
            await self.before_restore()
        return missing


class LosingEnqueuer(Enqueuer):
    is_lost = False
    restored: tuple[int, ...] = ()

    async def restore_tasks(self, tasks: Sequence[Task]) -> list[bool]:
        if self.is_lost:
            raise QueueUnreachable
        self.restored = (*self.restored, len(tasks))
        return await super().restore_tasks(tasks)


@asynccontextmanager
async def relays(stack: Stack, count: int = 1) -> AsyncIterator[list[tuple[Relay, LosingQueue]]]:
    queues = [LosingQueue(TaskQueue.connect(stack.valkey.address).redis) for _ in range(count)]
    try:
        yield [(Relay(stack.store, queue, later_clock), queue) for queue in queues]
    finally:
        for queue in queues:
            await queue.close()


async def count_queued(stack: Stack) -> int:
    return sum([int(await stack.queue.redis.zcard(name)) for name in QUEUE_NAMES])


async def test_a_task_is_due_at_once_whatever_the_clock_of_the_host_that_accepted_it() -> None:
    async with everpost_stack(workers=0) as stack:
        queue = TaskQueue.connect(stack.valkey.address, lambda: system_clock() + HOUR_MS)
        await queue.enqueuer.enqueue_task(make_task("t"))
        await queue.close()
        assert await stack.queue.redis.zscore("arq:queue", "t") <= system_clock()


async def test_nothing_waits_for_the_time_that_was_before_the_clock_was_set_back() -> None:
    ahead_ms = HOUR_MS
    async with everpost_stack(workers=0) as stack:
        relay = Relay(stack.store, stack.queue, lambda: system_clock() + ahead_ms)
        task_id = await stack.publish()
        scheduled_id = await stack.publish(schedule_time=to_text(system_clock() + 3 * HOUR_MS))
        kit_of(stack.settings).change(Place.LEDGER, created_at=to_text(system_clock() + HOUR_MS))
        assert await relay.tick() == 0
        ahead_ms = 0
        await stack.queue.redis.zadd("arq:queue", {task_id: system_clock() + HOUR_MS})
        assert await relay.tick() == 1
        assert await stack.queue.redis.zscore("arq:queue", task_id) <= system_clock()
        assert await stack.queue.redis.zscore("arq:queue", scheduled_id) > system_clock() + HOUR_MS


async def test_an_outage_during_a_sweep_makes_the_relay_sweep_again() -> None:
    async with everpost_stack(workers=0) as stack, relays(stack) as [(relay, queue)]:
        await stack.publish(title="t")
        await stack.flush_redis()
        queue.enqueuer.is_lost = True
        with pytest.raises(QueueUnreachable):
            await relay.tick()
        queue.enqueuer.is_lost = False
        assert await relay.tick() == 1
        assert await count_queued(stack) == 1


async def test_a_restart_on_a_file_without_its_end_is_noticed_although_the_epoch_is_in_the_file(tmp_path: Path) -> None:
    async with everpost_stack(workers=0, folder=tmp_path, durable=True) as stack, relays(stack) as [(relay, _)]:
        await relay.tick()
        task_id = await stack.publish(title="t")
        assert await relay.tick() == 0  # it is there, and has been looked for
        await stack.queue.redis.zrem("arq:queue", task_id)
        await stack.queue.redis.delete(f"arq:job:{task_id}")
        assert stack.valkey.child is not None
        await stack.valkey.child.stop()
        await stack.valkey.start()
        assert await relay.tick() == 1
        assert await count_queued(stack) == 1


async def test_a_worker_that_starts_after_the_leader_died_puts_back_what_redis_lost_while_none_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leadership, "LOST_S", 60.0)
    async with everpost_stack(workers=0) as stack:
        dead = msgspec.json.encode(Mark(owner="dead", term=1)).decode()
        await stack.store.meta.set(LEADER, dead)
        task_id = await stack.publish()
        await stack.queue.redis.flushall()
        await stack.start_worker()
        assert (await stack.wait_until_ended(task_id))["status"] == "success"
        assert await stack.store.meta.get(LEADER) == dead


async def test_a_row_committed_before_an_older_one_is_not_skipped() -> None:
    async with everpost_stack(workers=0) as stack, relays(stack) as [(relay, _)]:
        await relay.tick()
        ledger = stack.store.ledger
        fresh_ms, old_ms = later_clock(), system_clock()
        for task_id, created_at_ms in (("fresh", fresh_ms), ("old", old_ms)):
            task = Task(
                task_id=task_id,
                task_data=b"{}",
                platform="",
                account_id="",
                created_at_ms=created_at_ms,
                accepted_by="test",
            )
            await ledger.accept([task], created_at_ms)
        assert await relay.tick() == 1
        kit_of(stack.settings).change(Place.LEDGER, created_at=to_text(old_ms))
        assert await relay.tick() == 1
        assert await count_queued(stack) == 2


async def test_relays_at_once_queue_everything_once() -> None:
    async with everpost_stack(workers=0) as stack, relays(stack, 4) as several:
        answers = [stack.publish(title=str(number), priority=number % 10) for number in range(600)]
        ids = await asyncio.gather(*answers)
        await stack.flush_redis()
        await asyncio.gather(*(relay.tick() for relay, _ in several))
        assert await count_queued(stack) == len(ids)
        for _ in range(2):
            await stack.start_worker()
        await stack.drain()
        assert sorted(job.task_id for job in stack.publisher.published) == sorted(ids)


async def test_no_more_payloads_are_held_in_memory_than_go_back_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everpost_workers.upkeep.relay.RESTORED", 2)
    async with everpost_stack(workers=0) as stack, relays(stack) as [(relay, queue)]:
        for _ in range(5):
            await stack.publish()
        await stack.flush_redis()
        assert await relay.tick() == 5
        assert queue.enqueuer.restored == (2, 2, 1)


async def test_a_row_whose_times_are_none_holds_up_no_other_and_runs_at_once() -> None:
    odd_times = ("tomorrow", 12, b"\x00\xff", "999999-01-01")
    async with everpost_stack(workers=0) as stack:
        task_ids = [await stack.publish() for _ in range(6)]
        for task_id, odd in zip(task_ids, odd_times, strict=False):
            kit_of(stack.settings).change(Place.LEDGER, task_id, due_at=odd, created_at=odd)
        await stack.flush_redis()
        async with relays(stack) as [(relay, _)]:
            assert await relay.tick() == 6
        await stack.start_worker()
        for task_id in task_ids:
            assert (await stack.wait_until_ended(task_id))["status"] == "success"


async def test_a_task_that_ends_while_it_is_looked_for_is_not_put_back() -> None:
    async with everpost_stack(workers=0) as stack, relays(stack) as [(relay, queue)]:
        task_id, other_id = await stack.publish(), await stack.publish()
        await stack.flush_redis()
        queue.losses.before_restore = lambda: end(stack.store, task_id)
        assert await relay.tick() == 1
        assert await stack.queue.redis.zrange("arq:queue", 0, -1) == [other_id.encode()]


async def test_a_withdrawn_task_does_not_come_back() -> None:
    async with everpost_stack(workers=0) as stack, relays(stack) as [(relay, _)]:
        task_id = await stack.publish(title="t")
        assert await stack.queue.jobs.withdraw_task(task_id)
        await relay.tick()
        assert await count_queued(stack) == 0


async def test_a_task_withdrawn_by_a_process_that_died_goes_back_into_its_queue() -> None:
    async with everpost_stack(workers=0) as stack, relays(stack) as [(relay, _)]:
        abandoned, cancelled = await stack.publish(), await stack.publish()
        assert (await stack.client.post(f"/api/v1/tasks/cancel/{cancelled}")).status_code == 200
        assert await stack.queue.jobs.withdraw_task(abandoned)
        assert await relay.tick() == 0  # a worker may be at work on it
        await stack.queue.redis.delete(f"everpost:withdrawn:{abandoned}")  # as time does
        for member, score in await stack.queue.redis.zrange(WITHDRAWALS_KEY, 0, -1, withscores=True):
            await stack.queue.redis.zadd(WITHDRAWALS_KEY, {member: score - 2_000 * WITHDRAWN_S})
        assert await relay.tick() == 1
        assert await stack.queue.redis.zrange("arq:queue", 0, -1) == [abandoned.encode()]
        assert await stack.queue.redis.exists("everpost:withdrawals") == 0


async def test_a_running_task_is_left_to_its_lease_also_at_a_first_start() -> None:
    async with everpost_stack(workers=0) as stack:
        task_id = await stack.publish()
        payload = await stack.queue.redis.get(f"arq:job:{task_id}")
        await stack.flush_redis()
        relay = Relay(stack.store, stack.queue, later_clock, renewal_s=0.3)
        ticking = asyncio.create_task(relay.tick())

        async def has_an_epoch() -> bool:
            return bool(await stack.queue.redis.exists("everpost:epoch"))

        await eventually(has_an_epoch, what="the relay's look at Redis")
        await stack.queue.redis.set(f"arq:job:{task_id}", payload)  # as the lease thread of its worker does
        await stack.queue.redis.set(f"arq:in-progress:{task_id}", "worker")
        await stack.queue.redis.zadd("arq:queue", {task_id: 2**42})
        assert await ticking == 0
        assert await stack.queue.redis.zscore("arq:queue", task_id) == 2**42


async def test_jobs_redis_dropped_for_lack_of_memory_are_put_back_soon() -> None:
    times_ms = [system_clock() + 2 * FRESH_MS]
    async with everpost_stack(workers=0) as stack:
        relay = Relay(stack.store, stack.queue, lambda: times_ms[0])
        ids = await asyncio.gather(*(stack.publish(description="x" * 1_000) for _ in range(300)))
        assert await relay.tick() == 0  # they are there, and have been looked for
        redis = stack.queue.redis
        epoch = await redis.get("everpost:epoch")
        await redis.config_set("maxmemory-policy", "allkeys-random")
        await redis.config_set("maxmemory", str((await redis.info("memory"))["used_memory"] - 100_000))

        async def has_dropped_jobs() -> bool:
            await redis.set("everpost:note", "")  # nothing is dropped but for a write
            return len(await redis.keys("arq:job:*")) < len(ids)

        await eventually(has_dropped_jobs, what="an eviction")
        await redis.config_set("maxmemory", "0")
        await redis.set("everpost:epoch", epoch)  # else the relay would look at once
        missing = len(ids) - len(await redis.keys("arq:job:*"))
        restored = await relay.tick()  # all of them, if the key that tells one Redis from another went as well
        times_ms[0] += EVICTED_SWEEP_MS
        assert restored + await relay.tick() >= missing
        assert await count_queued(stack) == len(ids)
        assert len(await redis.keys("arq:job:*")) == len(ids)
