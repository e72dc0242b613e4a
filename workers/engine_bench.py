"""How fast an engine is without SQLite and without publishing: `BatchWorker` or stock `arq.Worker` on the same jobs.

`python -m workers.engine_bench` reads one `EngineSpec` and writes one `EngineReport`, both in msgpack. `everpost bench`
runs it; it stands on this side because it imports the engine.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal
from uuid import uuid4

import msgspec
import uvloop
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import serialize_job
from arq.worker import Worker, func

from service.queue.codec import deserialize, serialize
from workers.engine import BatchWorker

POLL_S = 0.01
SLOTS = 100
CHUNK = 1_000
LOOK_EVERY_S = 0.001
FAR_MS = 86_400_000
ENGINES: dict[str, type[Worker]] = {"batch": BatchWorker, "arq": Worker}


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which engine runs how many jobs on which Redis.

    Attributes:
        scheduled: Jobs due tomorrow that stand in the same queue.
    """

    engine: Literal["batch", "arq"]
    redis: str
    jobs: int
    scheduled: int = 0


class EngineReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        took_s, cpu_s: From the worker's start until its queue was empty and every job finished.
        lost, repeated: Jobs that did not run, and runs beyond a job's first.
        unfinished: Jobs whose result Redis does not have, or that still stand in the queue.
    """

    took_s: float
    cpu_s: float
    lost: int
    repeated: int
    unfinished: int


async def measure_engine(spec: EngineSpec) -> EngineReport:
    """Fill a queue, run a worker until it is empty, count."""
    queue = f"bench:{uuid4().hex}"
    redis = await create_pool(
        RedisSettings.from_dsn(spec.redis), job_serializer=serialize, job_deserializer=deserialize
    )
    ids = [uuid4().hex for _ in range(spec.jobs)]
    await fill_queue(redis, queue, ids, due_in_ms=0)
    await fill_queue(redis, queue, [uuid4().hex for _ in range(spec.scheduled)], due_in_ms=FAR_MS)
    runs: Counter[str] = Counter()

    async def nothing(ctx: dict[str, Any]) -> None:
        runs[ctx["job_id"]] += 1

    worker = ENGINES[spec.engine](
        [func(nothing, name="nothing")],
        queue_name=queue,
        redis_settings=RedisSettings.from_dsn(spec.redis),
        job_serializer=serialize,
        job_deserializer=deserialize,
        max_jobs=SLOTS,
        poll_delay=POLL_S,
        burst=not spec.scheduled,
        handle_signals=False,
        log_results=False,
    )
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    await _run(worker, spec)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    if not spec.scheduled:
        await worker.close()
    unfinished = spec.jobs - await count_finished(redis, queue, ids)
    await redis.aclose()
    return EngineReport(
        took_s=took_s,
        cpu_s=cpu_s,
        lost=spec.jobs - len(runs),
        repeated=sum(runs.values()) - len(runs),
        unfinished=unfinished,
    )


async def _run(worker: Worker, spec: EngineSpec) -> None:
    """Until all jobs that are due have run; a queue that holds others never ends a burst."""
    if not spec.scheduled:
        await worker.async_run()
        return
    running = asyncio.create_task(worker.async_run())
    while worker.jobs_complete < spec.jobs:  # noqa: ASYNC110 - a worker has no event for it
        await asyncio.sleep(LOOK_EVERY_S)
    await worker.close()
    await asyncio.gather(running, return_exceptions=True)


async def fill_queue(redis: ArqRedis, queue: str, ids: Sequence[str], *, due_in_ms: int) -> None:
    """Put jobs into the queue as `enqueue_job` writes them, many at a time: filling is not what is measured."""
    now_ms = time.time_ns() // 1_000_000
    payload = serialize_job("nothing", (), {}, None, now_ms, serializer=serialize)
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        async with redis.pipeline(transaction=False) as pipe:
            pipe.mset(dict.fromkeys((f"arq:job:{job_id}" for job_id in chunk), payload))
            pipe.zadd(queue, dict.fromkeys(chunk, now_ms + due_in_ms))
            await pipe.execute()


async def count_finished(redis: ArqRedis, queue: str, ids: Sequence[str]) -> int:
    """How many jobs have a result and have left the queue."""
    finished = 0
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        results = await redis.exists(*(f"arq:result:{job_id}" for job_id in chunk))
        waiting = sum(score is not None for score in await redis.zmscore(queue, list(chunk)))
        finished += results - waiting
    return finished


if __name__ == "__main__":
    asked = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=EngineSpec)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(measure_engine(asked))))
