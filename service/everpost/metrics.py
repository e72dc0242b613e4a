"""Counters and histograms. Each process counts in memory, Redis adds up all processes, and /metrics shows the sums.

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

import msgspec

BOUNDS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
INFINITE = "+Inf"
SUM = "sum"  # stands in place of a bucket: the sum of all observed times in microseconds, so that it is a whole number

Field: TypeAlias = tuple[str, ...]
"""The key of one number: the metric's name, its labels' values and, for a histogram, the bucket or `SUM`."""


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """Counts events; /metrics adds `_total` to the name."""

    name: str
    help: str
    labels: tuple[str, ...]


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Counts durations by their length.

    Attributes:
        bounds_s: The upper bounds of the buckets in seconds, ascending; a bucket without a bound follows.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    bounds_s: tuple[float, ...]

    @property
    def buckets(self) -> tuple[str, ...]:
        """The names of the buckets in a `Field`."""
        return (*(f"{bound:g}" for bound in self.bounds_s), INFINITE)


ACCEPTED = Counter(
    name="everpost_tasks_accepted", help="Accepted tasks: posted, retried, or enqueued with arq.", labels=("platform",)
)
ENDED = Counter(
    name="everpost_tasks_ended", help="Tasks whose end a worker recorded.", labels=("platform", "status", "error_class")
)
ATTEMPTED = Counter(
    name="everpost_attempts",
    help="Attempts to publish, by how they ended; the outcome retry is followed by another attempt.",
    labels=("platform", "outcome", "error_class"),
)
QUEUE_WAIT = Histogram(
    name="everpost_queue_wait_seconds",
    help="How long tasks had been due when a worker took them.",
    labels=("priority",),
    bounds_s=BOUNDS_S,
)
PUBLISH_DURATION = Histogram(
    name="everpost_publish_duration_seconds", help="How long attempts took.", labels=("platform",), bounds_s=BOUNDS_S
)
COUNTERS = (ACCEPTED, ENDED, ATTEMPTED)
HISTOGRAMS = (QUEUE_WAIT, PUBLISH_DURATION)


class Tally:
    """What this process has counted but not yet added to Redis."""

    def __init__(self) -> None:
        self._numbers: dict[Field, int] = {}
        self._buckets = {histogram.name: histogram.buckets for histogram in HISTOGRAMS}

    def count(self, counter: Counter, *labels: str, times: int = 1) -> None:
        """Add `times` to the counter; `labels` are the values, in the order of the counter's label names."""
        self._add((counter.name, *labels), times)

    def observe(self, histogram: Histogram, times_s: Collection[float], *labels: str) -> None:
        """Add durations that have the same labels. A negative one (the clock was set back) counts as 0 in the sum."""
        buckets, bounds_s = self._buckets[histogram.name], histogram.bounds_s
        for position, count in Counted([bisect_left(bounds_s, time_s) for time_s in times_s]).items():
            self._add((histogram.name, *labels, buckets[position]), count)
        whole_s = sum(times_s) if min(times_s, default=0) >= 0 else sum(max(0.0, time_s) for time_s in times_s)
        self._add((histogram.name, *labels, SUM), round(whole_s * 1e6))

    def _add(self, field: Field, amount: int) -> None:
        self._numbers[field] = self._numbers.get(field, 0) + amount

    def take(self) -> dict[Field, int]:
        """Everything counted since the last call."""
        taken, self._numbers = self._numbers, {}
        return taken

    def give_back(self, numbers: Mapping[Field, int]) -> None:
        """Add back numbers that were taken but did not reach Redis."""
        for field, amount in numbers.items():
            self._add(field, amount)


def written_field(field: Field) -> bytes:
    """The field in the form it has in Redis."""
    return msgspec.json.encode(field)


_LABELS = {metric.name: len(metric.labels) for metric in COUNTERS} | {
    histogram.name: len(histogram.labels) + 1 for histogram in HISTOGRAMS
}
_PLACES = {histogram.name: {*histogram.buckets, SUM} for histogram in HISTOGRAMS}


def read_numbers(written: Iterable[tuple[bytes, bytes]]) -> dict[Field, int]:
    """The numbers in Redis. Unknown or unreadable fields are skipped: other programs may write there."""
    numbers: dict[Field, int] = {}
    for key, value in written:
        try:
            field, number = msgspec.json.decode(key, type=Field), int(value)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            continue
        if _is_known(field):
            numbers[field] = number
    return numbers


def _is_known(field: Field) -> bool:
    if not field or len(field) - 1 != _LABELS.get(field[0]):
        return False
    return field[0] not in _PLACES or field[-1] in _PLACES[field[0]]
