"""The relay while transactions commit in another order than they began in, from hosts with other clocks."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
import psycopg

from everpost.clock import system_clock, to_text
from everpost.store.pause import KEY as PAUSED
from everpost.store.pause import Pause, end_pause, write_pause
from everpost.store.postgresql.store import PostgresqlStore
from everpost.testing import everpost_stack
from everpost_workers.upkeep.relay import FRESH_MS, Relay
from store_rows import make_task

ACCEPT = "INSERT INTO task_queue (task_id, data, platform, created_at, accepted_by) VALUES (%s, '{}', 'p', %s, 'test')"
MINUTES_MS = 300_000
COUNTS = dict.fromkeys(("ended", "sending", "held", "scheduled", "operations"), 0)
PAUSE = {"backup": "", "restored_at": "2026", "newest_at": None, "replaced": None, **COUNTS}


def later_clock() -> int:
    """A time at which everything that was accepted before now has settled."""
    return system_clock() + 2 * FRESH_MS


def begin(address: str, task_id: str, created_at_ms: int) -> psycopg.Connection[Any]:
    """A process that accepts a task, and has not committed yet."""
    connection = psycopg.connect(address)
    connection.execute(ACCEPT, (task_id, to_text(created_at_ms)))
    return connection


async def test_no_task_is_missed_for_more_than_a_tick_in_whatever_order_they_commit(address: str) -> None:
    async with everpost_stack(workers=0, database=address) as stack:
        relay = Relay(stack.store, stack.queue, later_clock)
        await relay.tick()

        async def in_redis() -> set[str]:
            return {member.decode() for member in await stack.queue.redis.zrange("arq:queue", 0, -1)}

        async def accept(*tasks: tuple[str, int]) -> None:
            made = [make_task(task_id, created_at_ms=created_at_ms) for task_id, created_at_ms in tasks]
            await stack.store.ledger.accept(made, system_clock())

        async def one_tick_brings(*task_ids: str) -> None:
            relayed: Sequence[str] = sorted(await in_redis())
            await relay._sweep(FRESH_MS)
            assert await in_redis() - set(relayed) == set(task_ids)

        now_ms = system_clock()
        first = begin(address, "first", now_ms)
        second = begin(address, "second", now_ms - MINUTES_MS)
        await accept(("a", now_ms), ("b", now_ms - MINUTES_MS), ("c", now_ms + MINUTES_MS))
        await one_tick_brings("a", "b", "c")
        second.commit()
        await accept(("d", now_ms))
        await one_tick_brings("second", "d")
        third = begin(address, "third", now_ms + MINUTES_MS)
        await one_tick_brings()
        await accept(("e", now_ms))
        await one_tick_brings("e")
        third.commit()
        first.commit()
        await one_tick_brings("first", "third")
        await one_tick_brings()
        for connection in (first, second, third):
            connection.close()


async def test_a_result_whose_end_a_promotion_lost_stays_in_redis_until_dispatch_is_resumed(address: str) -> None:
    """As long as dispatch is not paused, such a result is another program's, since ends are recorded first."""
    async with everpost_stack(workers=0, database=address) as stack:
        task_id = await stack.publish()
        redis, store = stack.queue.redis, cast("PostgresqlStore", stack.store)
        await redis.delete("arq:queue", f"arq:job:{task_id}")
        await redis.set(f"arq:result:{task_id}", b"a success")
        store.guard.is_halted = True  # as when another server was found
        await store.meta.set(PAUSED, write_pause(msgspec.convert(PAUSE, Pause)))
        relay = Relay(store, stack.queue, later_clock)
        assert await relay.tick() == 0
        assert await redis.get(f"arq:result:{task_id}") == b"a success"
        await end_pause(store.meta)
        assert await relay.tick() == 1
        assert await redis.get(f"arq:result:{task_id}") is None
