"""What ended in the last hour, day or week, in the form of answers."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from everpost.clock import to_text
from everpost.store.timeline import Counts, Timeline, quantile_s, total_of


class Span(StrEnum):
    """How far back: an hour by minutes, a day by quarters of an hour, a week by hours."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


SLICES = {Span.HOUR: (60, 60), Span.DAY: (900, 96), Span.WEEK: (3600, 168)}
"""The length of a slice in seconds, and how many there are."""


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took: how often it happened, and estimates of two quantiles in seconds; null if never."""

    count: int
    p50_s: float | None
    p99_s: float | None


class EndsSlice(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a time that began at `began_at`.

    Attributes:
        ends: The tasks whose end a worker recorded, by status; callbacks are left out.
        wait: How long tasks had been due when a worker took them.
        publish: How long attempts took.
    """

    began_at: str
    ends: dict[str, int]
    wait: Durations
    publish: Durations


class EndsByTime(msgspec.Struct, frozen=True, kw_only=True):
    """What ended, by slices of `slice_s` seconds, the earliest first, and all together. The last slice is not over."""

    slice_s: int
    whole: EndsSlice
    data: Sequence[EndsSlice]


async def ends_by_time(timeline: Timeline, span: Span, now_ms: int) -> EndsByTime:
    """What ended in the span up to now."""
    slice_s, number = SLICES[span]
    last_s = now_ms // 1000 // slice_s * slice_s
    first_s = last_s - slice_s * (number - 1)
    parts: dict[int, list[Counts]] = {}
    for one in await timeline.slices(first_s, last_s + slice_s):
        parts.setdefault(one.began_s // slice_s * slice_s, []).append(one.counts)
    slices = {began_s: total_of(parts.get(began_s, ())) for began_s in range(first_s, last_s + 1, slice_s)}
    return EndsByTime(
        slice_s=slice_s,
        whole=_shown(first_s, total_of(slices.values())),
        data=[_shown(began_s, counts) for began_s, counts in slices.items()],
    )


def _shown(began_s: int, counts: Counts) -> EndsSlice:
    return EndsSlice(
        began_at=to_text(began_s * 1000),
        ends=counts.ends,
        wait=_durations(counts.waits),
        publish=_durations(counts.attempts),
    )


def _durations(buckets: Sequence[int]) -> Durations:
    return Durations(count=sum(buckets), p50_s=quantile_s(buckets, 0.5), p99_s=quantile_s(buckets, 0.99))
