"""Jobs that were cancelled and go on."""

import logging

from everpost_workers.engine.cancellation import whereabouts
from everpost_workers.engine.held import HeldJob
from everpost_workers.engine.log_fields import as_event

logger = logging.getLogger("arq.worker")


class StuckJobs:
    """The stuck jobs of one worker.

    Their leases are kept, so that no other worker runs them while they go on. The worker claims no more, because its
    process has to end.
    """

    def __init__(self) -> None:
        self.jobs: list[HeldJob] = []

    def __len__(self) -> int:
        return len(self.jobs)

    def add(self, job: HeldJob, unfinished: int) -> None:
        """Note a stuck job. `unfinished` is how many jobs of the worker have not ended, this one included."""
        assert job.task is not None, "a job that was cancelled has a task"
        assert job.cancel_cause is not None, "a stuck job was cancelled"
        self.jobs.append(job)
        cancelled, cause, place = 1 + job.insisted, job.cancel_cause.value, whereabouts(job.task)
        others = unfinished - len(self.jobs)
        logger.error(
            "job %s goes on although it was cancelled %d times (%s), at %s; this worker claims no more, and ends when "
            "its %d other jobs have ended",
            job.reference,
            cancelled,
            cause,
            place,
            others,
            extra=as_event(
                "job.stuck",
                job_id=job.job_id,
                function=job.claim.function,
                cancelled=cancelled,
                cause=cause,
                at=place,
                others=others,
            ),
        )

    def remove(self, job: HeldJob) -> None:
        """Forget a job that came to an end after all; no harm if it is not stuck."""
        if self.jobs:
            self.jobs = [other for other in self.jobs if other is not job]
