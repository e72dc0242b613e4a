"""What is kept for a time only: Idempotency-Keys, digests of posts, ended operations, their skips, and some numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from everpost.clock import to_text
from everpost.store.failures import FINE_KEPT_S, FINE_S, HOUR_S, HOURS_KEPT_S
from everpost.store.operations import KEPT_MS, KEPT_OPERATIONS, KEPT_SKIPS_OF_ALL
from everpost.store.timeline import KEPT_S
from everpost.task.model import first_id_of

ALWAYS = "~"  # sorts behind every time

Expired: TypeAlias = Sequence[tuple[str, Mapping[str, Any]]]
"""Statements that remove expired rows, with their parameters; each takes `limit` too."""


def oldest_kept() -> list[tuple[str, int]]:
    """The statements that find the oldest kept operation, and the operation of the oldest kept skip, given `newer`."""
    return [("nth_newest_operation", KEPT_OPERATIONS - 1), ("nth_newest_skip", KEPT_SKIPS_OF_ALL - 1)]


def expired_now(keys_kept_ms: int, now_ms: int | None, operation_id: str, skips_of: str) -> Expired:
    """See `everpost.store.care.Care.forget_expired`.

    Args:
        operation_id, skips_of: What the statements of `oldest_kept` found; empty if there are fewer.
    """
    ended_ms = 0 if now_ms is None else max(0, now_ms - KEPT_MS)
    too_old = first_id_of(ended_ms)
    now_s = (now_ms or 0) // 1000
    return [
        ("expire_keys", {"kept_ms": keys_kept_ms}),
        ("forget_recent_posts", {"now_ms": now_ms or 0}),
        ("forget_operations", {"operation_id": too_old, "before": to_text(ended_ms)}),
        ("forget_operations", {"operation_id": operation_id, "before": ALWAYS}),
        ("forget_failure_counts", {"slice_s": FINE_S, "before_s": now_s - FINE_KEPT_S}),
        ("forget_failure_counts", {"slice_s": HOUR_S, "before_s": now_s - HOURS_KEPT_S}),
        ("forget_timeline", {"before_s": now_s - KEPT_S}),
        ("forget_skips", {"operation_id": max(too_old, operation_id, skips_of)}),
        ("forget_tasks_done", {"operation_id": max(too_old, operation_id)}),
    ]
