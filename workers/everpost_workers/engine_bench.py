"""Measures an engine without a database and without publishing: `BatchWorker` or stock `arq.Worker` on the same jobs.

`python -m everpost_workers.engine_bench` reads one `EngineSpec` and writes one `EngineReport`, both in msgpack.
`everpost bench` runs it. It is part of the worker because it imports the engine.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal
from uuid import uuid4

import msgspec
import uvloop
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import serialize_job
from arq.worker import Worker, func

from everpost.queue.codec import deserialize, serialize
from everpost_workers.engine import BatchWorker

POLL_S = 0.01
SLOTS = 100
CHUNK = 1_000
FUNCTION = "nothing"
ENGINES: dict[str, Callable[..., Worker]] = {
    "batch": partial(BatchWorker, own_connections=True),  # as in Everpost's worker
    "arq": Worker,
}


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which engine runs how many jobs, and on which Redis.

    Attributes:
        queue: The queue of the jobs; jobs that are already there run first.
        waiting: The number of jobs already there; as many are left at the end.
    """

    engine: Literal["batch", "arq"]
    redis: str
    queue: str
    jobs: int
    waiting: int = 0


class EngineReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        took_s, cpu_s: From the worker's start until all jobs had ended.
        claims_s: Time spent waiting for Redis's answers to claims; None for stock arq, which needs several steps per
            job.
        lost, repeated: Jobs that did not run, and runs after a job's first.
        unfinished: Jobs without a result in Redis, or still in the queue.
    """

    took_s: float
    cpu_s: float
    claims_s: float | None
    lost: int
    repeated: int
    unfinished: int


async def measure_engine(spec: EngineSpec) -> EngineReport:
    """Fill a queue, have a worker run as many jobs, and count."""
    redis = await connect(spec)
    await fill_queue(redis, spec.queue, [uuid4().hex for _ in range(spec.jobs)])
    runs: Counter[str] = Counter()

    async def nothing(ctx: dict[str, Any]) -> None:
        runs[ctx["job_id"]] += 1

    worker = ENGINES[spec.engine](
        [func(nothing, name=FUNCTION)],
        queue_name=spec.queue,
        redis_pool=await connect(spec),
        job_serializer=serialize,
        job_deserializer=deserialize,
        max_jobs=SLOTS,
        poll_delay=POLL_S,
        burst=True,
        max_burst_jobs=spec.jobs if spec.waiting else -1,  # stock arq counts some jobs twice here, and stops too early
        handle_signals=False,
        log_results=False,
    )
    claims_s = time_claims(worker) if isinstance(worker, BatchWorker) else None
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    await worker.async_run()
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    await worker.close()
    ended = await count_ended(redis, spec.queue, list(runs))
    left = await redis.zcard(spec.queue)
    await redis.aclose()
    return EngineReport(
        took_s=took_s,
        cpu_s=cpu_s,
        claims_s=None if claims_s is None else sum(claims_s),
        lost=spec.jobs - len(runs),
        repeated=sum(runs.values()) - len(runs),
        unfinished=max(spec.jobs - ended, abs(left - spec.waiting)),
    )


async def connect(spec: EngineSpec) -> ArqRedis:
    """A connection pool, made as a worker makes it."""
    address = RedisSettings.from_dsn(spec.redis)
    return await create_pool(address, job_serializer=serialize, job_deserializer=deserialize)


def time_claims(worker: BatchWorker) -> list[float]:
    """Time the worker's claims: the list gains the seconds of each."""
    scripts = worker._dispatch().scripts  # noqa: SLF001 - its own calls, not such as it might make
    call, took_s = scripts.call, list[float]()

    async def timed(name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        began_s = time.perf_counter()
        answer = await call(name, keys, arguments)
        if name == "claim":
            took_s.append(time.perf_counter() - began_s)
        return answer

    scripts.call = timed  # type: ignore[method-assign]  # only for this worker
    return took_s


async def fill_queue(redis: ArqRedis, queue: str, ids: Sequence[str]) -> None:
    """Put jobs into the queue in the form of `enqueue_job`, many at a time, because filling is not measured."""
    now_ms = time.time_ns() // 1_000_000
    payload = serialize_job(FUNCTION, (), {}, None, now_ms, serializer=serialize)
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        async with redis.pipeline(transaction=False) as pipe:
            pipe.mset(dict.fromkeys((f"arq:job:{job_id}" for job_id in chunk), payload))
            pipe.zadd(queue, dict.fromkeys(chunk, now_ms))
            await pipe.execute()


async def count_ended(redis: ArqRedis, queue: str, ids: Sequence[str]) -> int:
    """The number of jobs that have a result and have left the queue."""
    ended = 0
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        results = await redis.exists(*(f"arq:result:{job_id}" for job_id in chunk))
        waiting = sum(score is not None for score in await redis.zmscore(queue, list(chunk)))
        ended += results - waiting
    return ended


if __name__ == "__main__":
    asked = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=EngineSpec)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(measure_engine(asked))))
