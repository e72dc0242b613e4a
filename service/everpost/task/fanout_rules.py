"""A fan-out: one content for many accounts. How its posts are made, and the one status of all of them: pure rules."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from everpost.errors import InvalidValue
from everpost.task.callbacks import MEMBER
from everpost.task.merge_patch import merge_patch
from everpost.task.model import ENDED, UNFINISHED, TaskStatus

MAX_ACCOUNTS = 1_000
REJECTED = "rejected"  # counted like a status


class FanoutStatus(StrEnum):
    """The status of a fan-out."""

    RUNNING = "running"  # a post has not ended
    SUCCESS = "success"  # every account has its post
    PARTIAL = "partial"  # some accounts have it
    FAILED = "failed"  # no account has it


class FanoutItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One account of a fan-out, as it was accepted.

    Attributes:
        task_id: The first task for the account; None if it was rejected, and then `code` and `message` say why.
        path: Which value of the request was at fault.
        earlier_task_id: The task with the same content, if it is a duplicate.
        unknown_fields: The fields that its platform does not know.
    """

    index: int
    platform: str | None = None
    account_id: str | None = None
    task_id: str | None = None
    code: str | None = None
    message: str | None = None
    path: str | None = None
    earlier_task_id: str | None = None
    warning: str | None = None
    unknown_fields: Sequence[str] | None = None


def merged_items(
    content: Mapping[str, Any], accounts: Sequence[Mapping[str, Any]], callback_url: str | None = None
) -> list[dict[str, Any]]:
    """The data of each account's task: the content, with the account's own fields merged into it (RFC 7396).

    Args:
        callback_url: Of the tasks that have no other; None if they need none.
    """
    defaults = {} if callback_url is None else {MEMBER: callback_url}
    return [defaults | merge_patch(content, account) for account in accounts]


def place_fault(error: InvalidValue, index: int, account: Mapping[str, Any]) -> None:
    """Make the error's path that of the request: into the account's own fields, or into the content."""
    rest = error.path.removeprefix("$")
    name = rest.removeprefix(".").partition(".")[0].partition("[")[0]
    is_own = not name or account.get(name) is not None
    error.path = f"$.accounts[{index}]{rest}" if is_own else f"$.content{rest}"


def status_of(statuses: Iterable[str], rejected: int) -> FanoutStatus:
    """The status of a fan-out.

    Args:
        statuses: Those of the newest task of each account.
        rejected: The number of accounts for which no task was accepted.
    """
    found = list(statuses)
    if any(status in UNFINISHED for status in found):
        return FanoutStatus.RUNNING
    succeeded = found.count(TaskStatus.SUCCESS)
    if succeeded == len(found) + rejected:
        return FanoutStatus.SUCCESS
    return FanoutStatus.PARTIAL if succeeded else FanoutStatus.FAILED


def count_statuses(statuses: Iterable[str], rejected: int) -> dict[str, int]:
    """How many accounts have each status; every status is there."""
    counts = {status.value: 0 for status in TaskStatus} | {REJECTED: rejected}
    for status in statuses:
        counts[status] = counts.get(status, 0) + 1
    return counts


def is_failure(status: str, *, force: bool) -> bool:
    """Whether a retry of the failures includes a post; with `force` also one that may have been published."""
    return status == TaskStatus.FAILED or (force and status == TaskStatus.UNKNOWN)


def is_unfinished(status: str) -> bool:
    """Whether a post can still be cancelled."""
    return status not in ENDED
