"""The guard against posting the same content to the same account twice, for platforms that have it: pure rules."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.platforms import Platform
from everpost.task.model import TaskStatus
from everpost.task.submission import Submission, decoded_data

NOT_CONTENT = frozenset(
    {
        "platform",
        "account_id",
        "schedule_time",
        "schedule_fold",
        "fold",
        "timezone",
        "late_after_s",
        "publish_mode",
        "priority",
        "callback_url",
        "allow_duplicate",
    }
)
"""Fields that say where, when and how a task is posted."""

HARMLESS = frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED})
"""An earlier post that ended so does not forbid a new one."""


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """What a new task is compared by.

    Attributes:
        digest: Of the account and the content.
        at_ms: When it is to be posted.
        window_ms: Another post of the same digest must be at least so far away.
        is_checked: False if the client allows a duplicate; later tasks are still compared with this one.
        chain_id: The retry chain it joins, which it is not compared with; None for the first task of a chain.
    """

    digest: str
    at_ms: int
    window_ms: int
    is_checked: bool
    chain_id: str | None = None


class RecentPost(msgspec.Struct, frozen=True):
    """An earlier task with a guard; `status` is that of the newest task of its retry chain, None if it is purged."""

    digest: str
    task_id: str
    at_ms: int
    status: str | None


def guard_of(submission: Submission, now_ms: int) -> Guard | None:
    """The guard of a new task; None if its platform has none."""
    if submission.platform.duplicate_window_s is None:
        return None
    data = decoded_data(submission.task_data)
    return guard_of_data(submission.platform, data, max(now_ms, submission.due_at_ms or 0))


def guard_of_data(platform: Platform, data: Mapping[str, Any], at_ms: int) -> Guard | None:
    """The guard of a task with this data that is to be posted at a time; None if its platform has none."""
    if platform.duplicate_window_s is None:
        return None
    ignored = NOT_CONTENT.union(platform.duplicate_ignores)
    content = {name: value for name, value in data.items() if name not in ignored}
    identity = [platform.name, str(data.get("account_id") or ""), content]
    return Guard(
        digest=hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest(),
        at_ms=at_ms,
        window_ms=round(platform.duplicate_window_s * 1_000),
        is_checked=data.get("allow_duplicate") is not True,
    )


def find_duplicates(guards: Mapping[str, Guard], recent: Sequence[RecentPost]) -> dict[str, str]:
    """For each new task that must not be accepted, the earlier task that forbids it.

    Args:
        guards: Those of the new tasks, in their order; of two equal ones, the first is accepted.
    """
    forbidding = [post for post in recent if post.status is not None and post.status not in HARMLESS]
    duplicates: dict[str, str] = {}
    for task_id, guard in guards.items():
        earlier = [post for post in forbidding if _are_close(guard, post)] if guard.is_checked else []
        if earlier:
            duplicates[task_id] = earlier[-1].task_id
        else:
            forbidding.append(RecentPost(guard.digest, guard.chain_id or task_id, guard.at_ms, TaskStatus.PENDING))
    return duplicates


def _are_close(guard: Guard, post: RecentPost) -> bool:
    if guard.digest != post.digest or guard.chain_id == post.task_id:
        return False
    return abs(guard.at_ms - post.at_ms) < guard.window_ms
