"""What Redis knows of a task, as a job or as a result."""

from typing import Any

import msgspec

from everpost.task.model import DEFAULT_PRIORITY


class QueuedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What Redis knows of a task.

    Attributes:
        task_data: None in a result that has left out its arguments, as successes do.
        enqueued_at_ms: When it came into the queue.
        success: How it ended; None while it has not.
        finished_at_ms: When it ended.
        outcome: What the publisher returned, or the text of the error.
    """

    task_data: bytes | None
    priority: int = DEFAULT_PRIORITY
    retry_of: str | None = None
    batch_id: str | None = None
    enqueued_at_ms: int | None = None
    success: bool | None = None
    finished_at_ms: int | None = None
    outcome: Any = None
