"""oban's side: a job that does nothing. Its end is recorded in its own row, whose state becomes `completed`."""

from typing import Any

from oban import worker
from oban.job import Job


@worker(queue="default")
class Publish:
    """Publish nothing."""

    async def process(self, job: Job) -> Any:
        """Run one job."""
