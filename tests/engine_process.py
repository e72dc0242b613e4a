"""A worker in its own process, for tests that kill, stop or block it.

    python -m engine_process SOCKET LEASE_S JOB_COMPLETION_WAIT_S [PUT_OFF [KILL_AT [BLOCKED_S]]]

Every run of a job appends `id:try` to the Redis list `ran`, every recorded end `id:reason` to `recorded`. With
PUT_OFF, every claimed job is put off by this many milliseconds, or handed over to the sorted set with this name. The
process kills itself at the failpoint KILL_AT, and when a job blocks it for BLOCKED_S.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from arq.connections import RedisSettings
from arq.worker import func

from engine_support import deserialize, serialize
from everpost_workers.engine import BatchWorker, Claim, ClaimAnswer, Elsewhere, JobOutcome, Later


async def note_run(ctx: dict[Any, Any]) -> None:
    await ctx["redis"].rpush("ran", f"{ctx['job_id']}:{ctx['job_try']}")


async def sleep(ctx: dict[Any, Any], seconds: float) -> float:
    await note_run(ctx)
    await asyncio.sleep(seconds)
    return seconds


async def block(ctx: dict[Any, Any], seconds: float) -> float:
    await note_run(ctx)
    time.sleep(seconds)  # noqa: ASYNC251 - the test needs a blocked loop
    return seconds


async def stop_process(ctx: dict[str, Any]) -> None:
    """Stop the process until it gets SIGCONT, and block the loop for a moment before and after."""
    await note_run(ctx)
    time.sleep(0.2)  # noqa: ASYNC251 - as above
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.2)  # noqa: ASYNC251 - as above


def main() -> None:
    socket_path, lease_s, completion_wait_s, *rest = sys.argv[1:]
    put_off, kill_at, blocked_s = (*rest, *("", "", "inf")[len(rest) :])

    async def on_complete(outcomes: Sequence[JobOutcome[Any]]) -> None:
        ends = [f"{outcome.job_id}:{outcome.reason}" for outcome in outcomes]
        await cast("Awaitable[int]", worker.pool.rpush("recorded", *ends))

    async def on_claim(claims: Sequence[Claim[Any]]) -> dict[str, ClaimAnswer]:
        if not put_off.isdecimal():
            return {claim.job_id: Elsewhere(put_off) for claim in claims}
        return {claim.job_id: Later(round(time.time() * 1000) + int(put_off)) for claim in claims}

    def kill(point: str = kill_at) -> None:
        if point == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    worker = BatchWorker(
        [func(job, name=job.__name__) for job in (sleep, block, stop_process)],
        redis_settings=RedisSettings(unix_socket_path=socket_path),
        lease=float(lease_s),
        job_completion_wait=int(completion_wait_s),
        on_complete=on_complete,
        on_claim=on_claim if put_off else None,
        failpoint=kill,
        blocked_s=float(blocked_s),
        on_blocked=kill,
        job_serializer=serialize,
        job_deserializer=deserialize,
        max_tries=1,
    )
    worker.run()


if __name__ == "__main__":
    main()
