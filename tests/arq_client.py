"""A stock client of arq."""

from typing import Any

from arq.connections import ArqRedis
from arq.jobs import Job


async def job_of(client: ArqRedis, *args: Any, **kwargs: Any) -> Job:
    """Enqueue, and be sure that it was."""
    job = await client.enqueue_job(*args, **kwargs)
    assert job is not None
    return job
