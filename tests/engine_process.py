"""A worker in a process of its own, for tests that kill, stop or block it.

    python -m engine_process SOCKET LEASE_S JOB_COMPLETION_WAIT_S

Every run of a job appends `id:try` to the Redis list `ran`, every recorded end `id:reason` to `recorded`.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from arq.connections import RedisSettings
from arq.worker import func

from engine_support import deserialize, serialize
from everpost_workers.engine import BatchWorker, JobOutcome


async def note_run(ctx: dict[Any, Any]) -> None:
    await ctx["redis"].rpush("ran", f"{ctx['job_id']}:{ctx['job_try']}")


async def sleep(ctx: dict[Any, Any], seconds: float) -> float:
    await note_run(ctx)
    await asyncio.sleep(seconds)
    return seconds


async def block(ctx: dict[Any, Any], seconds: float) -> float:
    await note_run(ctx)
    time.sleep(seconds)  # noqa: ASYNC251 - it is what the test is about
    return seconds


def main() -> None:
    socket_path, lease_s, completion_wait_s = sys.argv[1:]

    async def on_complete(outcomes: Sequence[JobOutcome[Any]]) -> None:
        ends = [f"{outcome.job_id}:{outcome.reason}" for outcome in outcomes]
        await cast("Awaitable[int]", worker.pool.rpush("recorded", *ends))

    worker = BatchWorker(
        [func(sleep, name="sleep"), func(block, name="block")],
        redis_settings=RedisSettings(unix_socket_path=socket_path),
        lease=float(lease_s),
        job_completion_wait=int(completion_wait_s),
        on_complete=on_complete,
        job_serializer=serialize,
        job_deserializer=deserialize,
        max_tries=1,
    )
    worker.run()


if __name__ == "__main__":
    main()
