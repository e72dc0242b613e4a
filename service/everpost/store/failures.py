"""The port's noun `failures`: failed tasks, grouped by the cause of their errors, platform and account."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Protocol

import msgspec

from everpost.clock import DAY_MS, read_time, to_text
from everpost.store.lists.cursor import Key
from everpost.task.failure_cause import cause_of

FINE_S, HOUR_S, DAY_S = 300, 3600, 86_400
FINE_KEPT_S = 2 * DAY_S
HOURS_KEPT_S = 62 * DAY_S
LONGEST_S = 400 * DAY_S  # the most that `groups` looks back
MOST_SLICES = 72  # of a window
MOST_COUNTS = 10_000  # numbers of groups that one question adds up
SLACK = 25  # groups that are counted exactly beside the ones that are asked for
ALL = ("", "", "")  # the cause, platform and account of the numbers of all groups
MAX_GROUPS = 500
AGAIN_MS = 7 * DAY_MS  # how far back a new process looks for failures that a process of an earlier version recorded
WHOLE = "failures"  # in `everpost_meta` once all failures have their causes


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failed tasks with the same cause, platform and account.

    Attributes:
        cause: Its id; see `everpost.task.failure_cause`.
        platform: As stored; empty if it is not known, as is `account_id`.
        tasks: How many failed in the window.
        first_s, last_s: When the first and the last of them failed, in Unix time.
        sample: The one that failed last, unless it left the history.
        trend: How many failed in each slice of the window, the earliest first.
    """

    cause: str
    error_class: str | None
    text: str
    platform: str
    account_id: str
    tasks: int
    first_s: int
    last_s: int
    sample: str | None
    trend: Sequence[int]


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """The failures of a window of time.

    Attributes:
        began_s: When the window begins, which is when a slice does, in Unix time.
        slice_s: The length of a slice: 300, 3600 or 86400 seconds.
        slices: How many there are.
        tasks: How many tasks failed in the window.
        groups: The largest groups first.
        group_count: How many groups there are; some may have failed shortly before the window only.
        is_complete: False if there are so many groups that those of the earliest time may be missing.
    """

    began_s: int
    slice_s: int
    slices: int
    tasks: int
    groups: Sequence[FailureGroup]
    group_count: int
    is_complete: bool


class Window(msgspec.Struct, frozen=True):
    """The slices that a question is about.

    Attributes:
        coarse_s: The length of larger slices, by which the groups are chosen.
    """

    began_s: int
    slice_s: int
    slices: int
    coarse_s: int

    @property
    def coarse_began_s(self) -> int:
        """When the larger slice begins that has the beginning."""
        return self.began_s // self.coarse_s * self.coarse_s

    def starts(self) -> list[int]:
        """When the slices begin."""
        return [self.began_s + self.slice_s * number for number in range(self.slices)]


class FailuresStore(Protocol):
    """Groups failures. Numbers are kept, so it costs the same for any number of tasks."""

    async def groups(self, since_s: int, now_s: int, limit: int = 100) -> Failures:
        """The failures since about `since_s`: the beginning of the slice that has it.

        Tasks that left the history, or turned out to have succeeded, do not count.
        """

    async def fill(self, now_ms: int, limit: int = 1_000) -> int:
        """Give causes to failures that an earlier version recorded; how many tasks were looked at. 0 is the end."""


class LookedAt(msgspec.Struct, frozen=True):
    """Failed tasks of the history that `fill` has looked at.

    Attributes:
        rows: Of `failures_without_cause`, the newest first.
        limit: How many were asked for; fewer rows are the end of the history.
        was_whole: All failures had causes once, so only those that an earlier version recorded since can lack them.
    """

    rows: Sequence[Mapping[str, Any]]
    limit: int
    was_whole: bool

    @property
    def is_last(self) -> bool:
        """Whether no older failure is left."""
        return len(self.rows) < self.limit

    @property
    def must_write(self) -> bool:
        """Whether there are causes to keep, or it is to be noted that all failures have theirs."""
        return any(not row["is_known"] for row in self.rows) or (self.is_last and not self.was_whole)

    def failures(self, zone: tzinfo) -> list[dict[str, Any]]:
        """The values of those that lack their causes; local times are read in `zone`."""
        return [failure_of_row(row, zone) for row in self.rows if not row["is_known"]]

    def following(self, now_ms: int) -> Key | None:
        """The key behind which to look next; None if no look is needed any more."""
        oldest = str(self.rows[-1]["created_at"]) if self.rows else ""
        if self.is_last or (self.was_whole and oldest < to_text(now_ms - AGAIN_MS)):
            return None
        return Key(self.rows[-1]["created_at"], self.rows[-1]["task_id"])


def window_of(since_s: int, now_s: int) -> Window:
    """The finest slices that are kept long enough: at most `MOST_SLICES`, unless they are days."""
    since_s = max(0, min(since_s, now_s), now_s - LONGEST_S)
    span_s = now_s - since_s
    slice_s = next((size for size in (FINE_S, HOUR_S) if span_s <= size * MOST_SLICES), DAY_S)
    began_s = since_s // slice_s * slice_s
    coarse_s = HOUR_S if slice_s == FINE_S else DAY_S
    return Window(began_s, slice_s, now_s // slice_s - began_s // slice_s + 1, coarse_s)


def failures_of(
    window: Window, top: Sequence[Mapping[str, Any]], slices: Iterable[Mapping[str, Any]], limit: int
) -> Failures:
    """The answer, of the rows of `top_failures` and `failure_slices`. The samples may have left the history."""
    by_group: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in slices:
        by_group.setdefault(_key(row), []).append(row)
    groups = [_group(window, row, by_group.get(_key(row), [])) for row in top]
    groups = sorted((group for group in groups if group.tasks > 0), key=_order)
    return Failures(
        began_s=window.began_s,
        slice_s=window.slice_s,
        slices=window.slices,
        tasks=sum(int(row["tasks"]) for row in by_group.get(ALL, [])),
        groups=groups[:limit],
        group_count=int(top[0]["group_count"]) if top else 0,
        is_complete=not top or top[0]["numbers"] < MOST_COUNTS,
    )


def with_samples(found: Failures, known: Collection[str]) -> Failures:
    """The answer without samples other than the `known` ones."""
    groups = [group if group.sample in known else msgspec.structs.replace(group, sample=None) for group in found.groups]
    return msgspec.structs.replace(found, groups=groups)


def samples_of(found: Failures) -> list[str]:
    """The samples of the groups."""
    return [group.sample for group in found.groups if group.sample is not None]


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["cause"], row["platform"], row["account_id"]


def _order(group: FailureGroup) -> tuple[int, int, str, str, str]:
    return -group.tasks, -group.last_s, group.cause, group.platform, group.account_id


def _group(window: Window, row: Mapping[str, Any], slices: Sequence[Mapping[str, Any]]) -> FailureGroup:
    trend = [0] * window.slices
    for one in slices:
        trend[min(window.slices - 1, max(0, (one["began_s"] - window.began_s) // window.slice_s))] += int(one["tasks"])
    return FailureGroup(
        cause=row["cause"],
        error_class=row["error_class"],
        text=row["text"] or "",
        platform=row["platform"],
        account_id=row["account_id"],
        tasks=sum(trend),
        first_s=min((one["first_s"] for one in slices if one["first_s"]), default=window.began_s),
        last_s=max((one["last_s"] for one in slices if one["last_s"]), default=window.began_s),
        sample=max(((one["last_s"] or 0, one["sample"]) for one in slices if one["sample"]), default=(0, None))[1],
        trend=trend,
    )


def failure_row(ended: Mapping[str, Any], failure: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a failure, of a task's row and what `everpost.store.task_rows.failure_of` says of it."""
    return {
        "task_id": ended["task_id"],
        "cause": failure["cause"],
        "text": failure["text"],
        "error_class": ended["error_class"],
        "platform": ended["platform"] or "",
        "account_id": ended["account_id"] or "",
        "created_at": ended.get("created_at") or ended.get("queued_at") or ended.get("finished_at"),
        "ended_s": failure["ended_s"],
    }


def failure_of_row(row: Mapping[str, Any], zone: tzinfo) -> dict[str, Any]:
    """The values of a failure that the history has; local times are read in `zone`."""
    cause = cause_of(row["error_class"], row["error_message"])
    try:
        ended_s = read_time(str(row["ended_at"]), zone) // 1000
    except (ValueError, OverflowError):
        ended_s = 0
    return failure_row(row, {"cause": cause.id, "text": cause.text, "ended_s": ended_s})
