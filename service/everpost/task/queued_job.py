"""What Redis knows about a task, from its job or its result."""

from typing import Any

import msgspec

from everpost.task.model import DEFAULT_PRIORITY


class QueuedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What Redis knows about a task.

    Attributes:
        task_data: None in a result without arguments; successes have none.
        enqueued_at_ms: When it was enqueued.
        success: Whether it succeeded; None while it has not ended.
        finished_at_ms: When it ended.
        outcome: What the publisher returned, or the text of the error.
        from_pickle: Whether its client writes, and reads, only pickles.
    """

    task_data: bytes | None
    priority: int = DEFAULT_PRIORITY
    retry_of: str | None = None
    batch_id: str | None = None
    enqueued_at_ms: int | None = None
    success: bool | None = None
    finished_at_ms: int | None = None
    outcome: Any = None
    from_pickle: bool = False
