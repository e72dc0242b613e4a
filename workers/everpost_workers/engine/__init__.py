"""arq's worker with another engine: it claims, leases and releases jobs in batches, and reports every end of a job.

`BatchWorker` takes the place of `arq.worker.Worker`. It needs arq, redis-py, hiredis and msgspec, and nothing of
Everpost. docs/engine.md tells how to use it, what it guarantees and what it costs.

A job's way through this package:

    claim_loop.py   decides when to claim
    claiming.py     claims a batch (claim.lua); reading.py decodes it
    admitting.py    asks on_claim, and drops jobs, puts them off or hands them over as it answers
    dispatch.py     starts one task a job; leases.py keeps the leases of all held jobs, from a thread
    running.py      runs the job's function; outcomes.py decides what follows
    recording.py    has on_complete record ended jobs
    releasing.py    has Redis let go of them (release.lua)
    stopping.py     on a signal: draining.py waits until all of this is done, within limits
"""

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.cancellation import cancel_until_done, comes_from_outside
from everpost_workers.engine.deadlines import TimeLimits
from everpost_workers.engine.errors import EngineError, HandBackError, StuckJobsError
from everpost_workers.engine.jobs import DROP, Claim, ClaimAnswer, Drop, Elsewhere, JobOutcome, Later
from everpost_workers.engine.leases import LONGEST_ROUND_S
from everpost_workers.engine.options import OnClaim, OnComplete, OnReleased
from everpost_workers.engine.outcomes import CancelCause, OutcomeReason, cause_of
from everpost_workers.engine.worker import BatchWorker

__all__ = [
    "DROP",
    "LONGEST_ROUND_S",
    "Backoff",
    "BatchWorker",
    "CancelCause",
    "Claim",
    "ClaimAnswer",
    "Drop",
    "Elsewhere",
    "EngineError",
    "HandBackError",
    "JobOutcome",
    "Later",
    "OnClaim",
    "OnComplete",
    "OnReleased",
    "OutcomeReason",
    "StuckJobsError",
    "TimeLimits",
    "cancel_until_done",
    "cause_of",
    "comes_from_outside",
]
