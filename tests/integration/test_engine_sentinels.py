"""The engine behind Sentinels, with arq's own settings: leases, claims and wake-ups move to the new master."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import func
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError

from chaos_kit.sentinels import DATABASE, MASTER, PASSWORD, Fleet, Node, running_fleet
from engine_support import Gate
from everpost.testing import eventually
from everpost_workers.engine import BatchWorker


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with running_fleet(tmp_path / "fleet", sentinel_password="") as fleet:  # arq has no setting for one
        yield fleet


def settings_of(fleet: Fleet) -> RedisSettings:
    return RedisSettings(
        host=[("127.0.0.1", sentinel.port) for sentinel in fleet.sentinels],
        sentinel=True,
        sentinel_master=MASTER,
        password=PASSWORD,
        database=DATABASE,
    )


async def enqueue_when_up(client: ArqRedis, job_id: str) -> None:
    async def is_enqueued() -> bool:
        try:
            return bool(await asyncio.wait_for(client.enqueue_job("gate", _job_id=job_id), 1))
        except (OSError, TimeoutError, RedisError):
            return False

    await eventually(is_enqueued)


@pytest.mark.parametrize(
    "how", ["killed", pytest.param("frozen", marks=pytest.mark.chaos), pytest.param("asked", marks=pytest.mark.chaos)]
)
async def test_leases_and_claims_go_on_at_the_new_master(fleet: Fleet, how: str) -> None:
    gate = Gate()
    worker = BatchWorker(
        [func(gate.job, name="gate")],
        redis_settings=settings_of(fleet),
        lease=30,
        poll_delay=3600,
        handle_signals=False,
    )
    running = asyncio.create_task(worker.async_run())
    client = await create_pool(settings_of(fleet))
    await client.enqueue_job("gate", _job_id="held")
    await eventually(lambda: is_there(gate, 1), what="the first job")
    old = await fleet.master()
    await fleet.is_whole()
    with ExitStack() as stack:
        if how == "killed":
            old.kill()
        elif how == "frozen":
            stack.enter_context(old.frozen())
        else:
            await fleet.sentinels[0].redis.execute_command("SENTINEL", "FAILOVER", MASTER)
        new = await fleet.other_master(old)
        lives_ms = [0]

        async def is_renewed() -> bool:
            lives_ms.append(await new.redis.pttl("arq:in-progress:held"))
            return 0 < lives_ms[-2] < lives_ms[-1]

        await eventually(is_renewed, what="a lease that is renewed at the new master")
        await client.connection_pool.disconnect()  # arq's own client stays with the old master
        await enqueue_when_up(client, "after")

        async def is_found_when_told() -> bool:
            await new.redis.publish("everpost:wake", "")
            return len(gate.entered) == 2

        await eventually(is_found_when_told, what="a message of the new master, and the job")
        gate.open()
        await eventually(lambda: are_released(new), what="the release of both")
    assert len(gate.entered) == 2
    await worker.close()
    await asyncio.gather(running, return_exceptions=True)
    await client.aclose(close_connection_pool=True)
    assert isinstance(client.connection_pool, SentinelConnectionPool)
    for sentinel in client.connection_pool.sentinel_manager.sentinels:
        await sentinel.aclose()


async def is_there(gate: Gate, count: int) -> bool:
    return len(gate.entered) == count


async def are_released(node: Node) -> bool:
    return bool(await node.redis.exists("arq:result:held", "arq:result:after") == 2)
