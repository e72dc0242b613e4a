"""The engine's own errors.

EngineError
├── HandBackError    raised by a job: it has not begun and goes back to its queue
└── StuckJobsError   raised by the worker: jobs do not end although they were cancelled
"""

from collections.abc import Sequence


class EngineError(Exception):
    """The root."""


class HandBackError(EngineError):
    """A job raises it to go back to its queue, due in `in_s` seconds. It has not begun, so no try is spent."""

    def __init__(self, in_s: float) -> None:
        super().__init__(f"not begun, again in {in_s:g} s")
        self.in_s = in_s


class StuckJobsError(EngineError):
    """Jobs go on although they were cancelled. The process must end, or they keep its slots and their leases.

    Args:
        job_ids: The jobs. Their leases run out after the process has ended, not before.
    """

    def __init__(self, job_ids: Sequence[str]) -> None:
        super().__init__(f"{len(job_ids)} jobs do not heed being cancelled: {', '.join(job_ids)}")
        self.job_ids = list(job_ids)
