"""The port's noun `timeline`: what ended in each minute, how long it had waited, and how long attempts took.

All processes add their counts to Redis (`everpost.metrics`). A worker looks at the sums every few seconds, and adds
what they grew by to the present minute. So no task pays for it, and Redis may be emptied.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from everpost.metrics import BOUNDS_S, ENDED, PUBLISH_DURATION, QUEUE_WAIT, SUM, Field, Histogram
from everpost.platforms import CALLBACK

MINUTE_S = 60
KEPT_S = 8 * 86_400
LAST = "counted_ends"  # in `everpost_meta`: the sums at the last look
BUCKETS = len(BOUNDS_S) + 1


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of tasks and attempts; callbacks are left out of ends and attempts.

    Attributes:
        ends: Tasks that ended, by status.
        waits: Claims by how long their tasks had been due, for each bucket of `BOUNDS_S`.
        attempts: Attempts by how long they took, in the same way.
    """

    ends: dict[str, int] = {}
    waits: list[int] = []
    attempts: list[int] = []


class Slice(msgspec.Struct, frozen=True):
    """What ended from a moment on, in Unix time, for a minute or more."""

    began_s: int
    counts: Counts


class Timeline(Protocol):
    """Keeps what ended in each minute, for `KEPT_S`."""

    async def add(self, sums: Counts, now_s: int) -> None:
        """Add what the sums grew by since the last call to the present minute.

        Of several processes with the same sums, one adds. The first call ever adds nothing. A sum that shrank began
        anew, because Redis was emptied.
        """

    async def slices(self, from_s: int, until_s: int) -> list[Slice]:
        """The minutes that begin in this time, the earliest first; those in which nothing happened may be missing."""


def sums_of(numbers: Mapping[Field, int]) -> Counts:
    """The sums in the numbers that all processes share."""
    ends: dict[str, int] = {}
    for field, number in numbers.items():
        if field[0] == ENDED.name and field[1] != CALLBACK:
            ends[field[2]] = ends.get(field[2], 0) + number
    return Counts(ends=ends, waits=_buckets(numbers, QUEUE_WAIT), attempts=_buckets(numbers, PUBLISH_DURATION))


def _buckets(numbers: Mapping[Field, int], histogram: Histogram) -> list[int]:
    places = {name: place for place, name in enumerate(histogram.buckets)}
    found = [0] * len(places)
    for field, number in numbers.items():
        if field[0] == histogram.name and field[-1] != SUM and field[1] != CALLBACK:
            found[places[field[-1]]] += number
    return found


def growth(before: Counts, now: Counts) -> Counts:
    """By how much the sums grew."""
    return Counts(
        ends={name: grown for name, sum_ in now.ends.items() if (grown := _grown(before.ends.get(name, 0), sum_))},
        waits=_each(before.waits, now.waits),
        attempts=_each(before.attempts, now.attempts),
    )


def _each(before: Sequence[int], now: Sequence[int]) -> list[int]:
    known = [*before, *[0] * (len(now) - len(before))]
    return [_grown(old, new) for old, new in zip(known, now, strict=False)]


def _grown(before: int, now: int) -> int:
    return now - before if now >= before else now


def total_of(parts: Iterable[Counts]) -> Counts:
    """The sum of several."""
    ends: dict[str, int] = {}
    waits, attempts = [0] * BUCKETS, [0] * BUCKETS
    for part in parts:
        for name, number in part.ends.items():
            ends[name] = ends.get(name, 0) + number
        for sums, numbers in ((waits, part.waits), (attempts, part.attempts)):
            for place, number in enumerate(numbers[:BUCKETS]):
                sums[place] += number
    return Counts(ends=ends, waits=waits, attempts=attempts)


def added(text: str | None, grown: Counts) -> str | None:
    """The text of a minute with this growth added; None if nothing grew."""
    if not (grown.ends or any(grown.waits) or any(grown.attempts)):
        return None
    return write_counts(grown if text is None else total_of([read_counts(text), grown]))


def write_counts(counts: Counts) -> str:
    """Counts as a store keeps them."""
    return msgspec.json.encode(counts).decode()


def read_counts(text: str) -> Counts:
    """The counts that a store has kept."""
    return msgspec.json.decode(text, type=Counts)


def quantile_s(buckets: Sequence[int], share: float) -> float | None:
    """An estimate of a quantile in seconds: within a bucket of `BOUNDS_S`, times are taken to be spread evenly.

    None if there is no time. Times beyond the last bound count as that bound.
    """
    left = sum(buckets) * share
    if not left:
        return None
    lower = 0.0
    for bound, count in zip(BOUNDS_S, buckets, strict=False):
        if left <= count and count:
            return lower + (bound - lower) * left / count
        left -= count
        lower = bound
    return float(BOUNDS_S[-1])
