"""Failures by their cause, in the form of answers."""

import re
from collections.abc import Callable, Sequence
from datetime import tzinfo

import msgspec

from everpost.clock import DAY_MS, read_time, to_text
from everpost.errors import InvalidValue
from everpost.store.failures import LONGEST_S, FailureGroup, Failures, FailuresStore

DEFAULT_SINCE = "24h"
_SPAN = re.compile(r"([1-9]\d{0,4})([mhd])")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": DAY_MS}


class ShownGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failed tasks with the same cause, platform and account. Times are UTC text.

    Attributes:
        cause: The id of the cause, for the filter `cause`; `text` is the error with `N`, `ID`, `URL` and `"…"` in place
            of what differs.
        count: How many failed.
        sample: The id of the one that failed last; null if it was removed.
        trend: How many failed in each slice, the earliest first.
    """

    cause: str
    error_class: str | None
    text: str
    platform: str
    account_id: str
    count: int
    first_at: str
    last_at: str
    sample: str | None
    trend: Sequence[int]


class ShownFailures(msgspec.Struct, frozen=True, kw_only=True):
    """Failures grouped by cause, platform and account, the largest group first.

    Attributes:
        since: The beginning of the first slice.
        slice_s: The length of a slice of `trend` in seconds: 300, 3600 or 86400.
        total: How many tasks failed.
        groups: How many groups there are; `data` has the largest. Some may have failed shortly before `since` only.
        is_complete: False if there are so many groups that those of the earliest time may be missing.
    """

    since: str
    slice_s: int
    total: int
    groups: int
    is_complete: bool
    data: Sequence[ShownGroup]


async def find_failures(store: FailuresStore, since: str, now_ms: int, zone: tzinfo, limit: int = 100) -> ShownFailures:
    """The failures since a time, or in the last minutes, hours or days, such as `90m`, `24h` or `7d`.

    Raises:
        InvalidValue: `since` is neither, or too long ago.
    """
    since_ms = _since_ms(since, now_ms, zone)
    if now_ms - since_ms > LONGEST_S * 1000:
        raise InvalidValue(f"Failures are counted for {LONGEST_S // 86_400} days.", "$.since")
    return _shown(await store.groups(since_ms // 1000, now_ms // 1000, limit))


def failures_within(failures: ShownFailures, is_reached: Callable[[str, str], bool], limit: int) -> ShownFailures:
    """The failures of the platforms and accounts that a caller reaches; `failures` has the largest groups of all."""
    groups = [one for one in failures.data if is_reached(one.platform, one.account_id)]
    is_complete = failures.is_complete and failures.groups == len(failures.data)
    total = sum(one.count for one in groups)
    return msgspec.structs.replace(
        failures, total=total, groups=len(groups), is_complete=is_complete, data=groups[:limit]
    )


def _since_ms(since: str, now_ms: int, zone: tzinfo) -> int:
    if (span := _SPAN.fullmatch(since)) is not None:
        return now_ms - int(span[1]) * _UNIT_MS[span[2]]
    try:
        return read_time(since, zone)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"{since!r} is neither a time nor a span such as 24h.", "$.since") from error


def _shown(found: Failures) -> ShownFailures:
    return ShownFailures(
        since=to_text(found.began_s * 1000),
        slice_s=found.slice_s,
        total=found.tasks,
        groups=found.group_count,
        is_complete=found.is_complete,
        data=[_shown_group(group) for group in found.groups],
    )


def _shown_group(group: FailureGroup) -> ShownGroup:
    return ShownGroup(
        cause=group.cause,
        error_class=group.error_class,
        text=group.text,
        platform=group.platform,
        account_id=group.account_id,
        count=group.tasks,
        first_at=to_text(group.first_s * 1000),
        last_at=to_text(group.last_s * 1000),
        sample=group.sample,
        trend=group.trend,
    )
