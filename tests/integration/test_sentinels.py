"""Redis by Sentinel: its master dies, freezes, loses writes or comes back, and every accepted task ends once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from arq.connections import ArqRedis
from arq.worker import func
from redis.exceptions import ConnectionError as ConnectionLost

from chaos_kit.sentinels import DATABASE, PASSWORD, Fleet, Node, free_ports, local_place, running_fleet
from engine_support import Gate
from everpost.cli.queue_checkup import check_redis
from everpost.clock import system_clock
from everpost.errors import QueueUnreachable
from everpost.findings import Finding
from everpost.queue.pool import connection_pool
from everpost.queue.task_queue import TaskQueue
from everpost.settings import temporary_settings
from everpost.testing import Stack, eventually, everpost_stack
from everpost_workers.engine import BatchWorker
from fair_time import fair_s

DISPATCH_S = 10.0
LEFT_S = 5.0


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with running_fleet(tmp_path / "fleet") as fleet:
        yield fleet


async def publish(stack: Stack, count: int) -> list[str]:
    return list(await asyncio.gather(*(stack.publish(title=str(number)) for number in range(count))))


async def check_all_published_once(stack: Stack, task_ids: Sequence[str]) -> None:
    assert {(await stack.task(task_id))["status"] for task_id in task_ids} == {"success"}
    assert [stack.publisher.times_published(task_id) for task_id in task_ids] == [1] * len(task_ids)


async def has_entered(gate: Gate) -> bool:
    return bool(gate.entered)


async def is_left(node: Node) -> bool:
    return not await node.clients()


@pytest.mark.usefixtures("both_stores_in_chaos")
async def test_a_master_that_dies_with_writes_it_alone_had_loses_and_repeats_nothing(
    tmp_path: Path, fleet: Fleet
) -> None:
    async with everpost_stack(folder=tmp_path / "stack", redis=fleet.address, max_jobs=10) as stack:
        task_ids = await publish(stack, 10)
        await stack.drain()
        old = await fleet.master()
        async with fleet.without_replication():
            stack.publisher.hold()
            task_ids += await publish(stack, 30)

            async def all_slots_are_taken() -> bool:
                return len(stack.publisher.attempts) == 20

            await eventually(all_slots_are_taken)
            old.kill()
        task_ids += await publish(stack, 10)
        await fleet.other_master(old)
        began = fair_s()
        stack.publisher.release()
        await stack.drain()
        assert fair_s() - began < DISPATCH_S
        await check_all_published_once(stack, task_ids)


@pytest.mark.chaos
@pytest.mark.usefixtures("both_stores_in_chaos")
async def test_a_frozen_master_is_left_and_has_no_connections_when_it_wakes(tmp_path: Path, fleet: Fleet) -> None:
    async with everpost_stack(folder=tmp_path / "stack", redis=fleet.address) as stack:
        first = await publish(stack, 10)
        await stack.drain()
        old = await fleet.master()
        with ExitStack() as cut:
            with old.frozen():
                meanwhile = await publish(stack, 10)
                await fleet.other_master(old)
                began = fair_s()
                await stack.drain()
                assert fair_s() - began < DISPATCH_S
                for sentinel in fleet.sentinels:  # they would make it a replica when it wakes
                    cut.enter_context(sentinel.frozen())
            await eventually(
                lambda: is_left(old), timeout_s=LEFT_S, what="the end of all connections to the old master"
            )
            after = await publish(stack, 10)
            await stack.drain()
            assert await old.is_master()
        await check_all_published_once(stack, [*first, *meanwhile, *after])


@pytest.mark.chaos
@pytest.mark.usefixtures("both_stores_in_chaos")
async def test_a_failover_on_request_moves_all_connections_before_the_old_master_is_made_a_replica(
    tmp_path: Path,
) -> None:
    async with (
        running_fleet(tmp_path / "fleet", is_quick=False) as fleet,
        everpost_stack(folder=tmp_path / "stack", redis=fleet.address) as stack,
    ):
        task_ids = await publish(stack, 10)
        old = await fleet.master()
        switching = asyncio.create_task(fleet.fail_over())
        while not switching.done():
            task_ids.append(await stack.publish())
        await eventually(lambda: is_left(old), timeout_s=LEFT_S, what="the end of all connections to the old master")
        assert await old.is_master()
        task_ids += await publish(stack, 10)
        await stack.drain()
        await check_all_published_once(stack, task_ids)


async def start_worker_on(stack: Stack, node: Node) -> None:
    """A worker that knows this server only."""
    address = f"redis://:{PASSWORD}@127.0.0.1:{node.port}/{DATABASE}"
    stack.settings = msgspec.structs.replace(stack.settings, redis=address)
    await stack.start_worker()


@pytest.mark.usefixtures("both_stores_in_chaos")
async def test_two_masters_that_have_the_same_jobs_do_not_have_them_run_twice(tmp_path: Path, fleet: Fleet) -> None:
    """As after a cut through the network: both serve, each with a worker that sees only this one."""
    async with everpost_stack(workers=0, folder=tmp_path / "stack", redis=fleet.address) as stack:
        task_ids = await publish(stack, 60)
        await fleet.is_whole()
        replica = await fleet.replica()
        with ExitStack() as cut:
            for sentinel in fleet.sentinels:  # they would demote one of the two
                cut.enter_context(sentinel.frozen())
            await replica.redis.execute_command("REPLICAOF", "NO", "ONE")
            assert [await node.redis.zcard("arq:queue") for node in fleet.nodes] == [60, 60]
            for node in fleet.nodes:
                await start_worker_on(stack, node)

            async def are_ended() -> bool:  # the claim that comes second makes a task unknown until the first reports
                return {(await stack.task(task_id))["status"] for task_id in task_ids} == {"success"}

            await eventually(are_ended, what="the success of all")
            await check_all_published_once(stack, task_ids)
            await stack.stop_workers()


async def test_a_replica_is_left_and_is_another_redis_when_it_is_a_master_again(fleet: Fleet) -> None:
    """It may lack what was written meanwhile, although it is the same process with the same data set."""
    queue = TaskQueue.connect(fleet.address)
    before = (await queue.losses.identify(uuid4().hex)).epoch
    assert (await queue.losses.identify(uuid4().hex)).epoch == before
    master, replica = await fleet.master(), await fleet.replica()
    await master.redis.execute_command("REPLICAOF", "127.0.0.1", replica.port)
    with pytest.raises(QueueUnreachable):
        await queue.losses.identify(uuid4().hex)
    with pytest.raises(ConnectionLost, match="is not a master"):
        await queue.redis.ping()
    await eventually(lambda: is_left(master), timeout_s=LEFT_S, what="the end of all connections to the replica")
    await master.redis.execute_command("REPLICAOF", "NO", "ONE")

    async def epoch() -> str | None:
        with suppress(QueueUnreachable):
            return (await queue.losses.identify(uuid4().hex)).epoch
        return None

    after = await eventually(epoch) or ""
    assert after != before
    assert after.split(":")[:2] == before.split(":")[:2]
    await queue.close()


async def test_a_sentinel_that_is_cut_off_with_the_old_master_is_not_believed(tmp_path: Path) -> None:
    """Both masters live, and the Sentinels know nothing of each other."""
    ports = free_ports(4)
    old, new = (Node(tmp_path / f"redis{port}", local_place(port), "", password="") for port in ports[:2])
    sentinels = [
        Node(
            tmp_path / f"sentinel{port}",
            local_place(port),
            f"sentinel monitor post 127.0.0.1 {node.port} 1\nsentinel config-epoch post {epoch}\n",
            "--sentinel",
            password="",
        )
        for node, port, epoch in ((old, ports[2], 3), (new, ports[3], 4))
    ]
    servers = [old, new, *sentinels]
    await asyncio.gather(*(server.start() for server in servers))
    places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    client = ArqRedis(connection_pool(f"redis+sentinel://{places}/post"))
    gate = Gate()
    worker = BatchWorker([func(gate.job, name="gate")], redis_pool=client, lease=0.5, handle_signals=False)
    running = asyncio.create_task(worker.async_run())
    await client.enqueue_job("gate", _job_id="job")
    assert (await old.redis.dbsize(), await new.redis.exists("arq:job:job")) == (0, 1)
    await eventually(lambda: has_entered(gate), what="the job")
    lives_ms: list[int] = []

    async def is_renewed() -> bool:
        lives_ms.append(await new.redis.pttl("arq:in-progress:job"))
        return any(before < after for before, after in pairwise(lives_ms))

    await eventually(is_renewed, what="a lease that is renewed at the new master")
    gate.open()
    await worker.close()
    await asyncio.gather(running, return_exceptions=True)
    assert gate.entered == ["job"]
    for server in servers:
        await server.close()


async def test_the_doctor_tells_which_sentinels_answer_and_who_is_the_master(tmp_path: Path, fleet: Fleet) -> None:
    master = await fleet.master()
    settings = temporary_settings(tmp_path, redis=fleet.address)
    fleet.sentinels[1].kill()
    found = {finding.name: finding for finding in await check_redis(settings, None, system_clock)}
    assert found["Sentinels"] == Finding(
        "Redis", "Sentinels", f"2 of 3 answer, master 127.0.0.1:{master.port}", ok=True
    )
    assert found["server"].ok
    fleet.sentinels[2].kill()
    (sentinels, *_) = await check_redis(settings, None, system_clock)
    assert (sentinels.ok, sentinels.advice) == (False, "Most do not answer, so no replica can take over.")
    wrong = temporary_settings(tmp_path, redis=fleet.address.replace("sentinel_password=", "sentinel_password=x"))
    (sentinels, *_) = await check_redis(wrong, None, system_clock)
    assert "password" in sentinels.advice, sentinels
