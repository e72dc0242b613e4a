"""Values from several runs, and their summaries: percentiles, minimum, median, maximum, ratios."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """The summary of several runs of one measurement."""

    min: float
    median: float
    max: float
    runs: Sequence[float]


class Results:
    """The values of each metric, one per run, in the order of the runs."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, **values: float | None) -> None:
        """Add a value to each named metric; None (the system does not tell) is left out."""
        for name, value in values.items():
            if value is not None:
                self._values[name].append(value)

    def summary(self, name: str) -> Summary | None:
        """The summary of a metric; None if it was not measured."""
        values = self._values.get(name)
        return summarize(values) if values else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


def summarize(values: Sequence[float]) -> Summary:
    """Minimum, median and maximum of at least one value."""
    return Summary(min(values), statistics.median(values), max(values), tuple(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` (0-100) of the values do not exceed (nearest rank).

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def ratio(results: Results, name: str, base: str) -> float | None:
    """The median of one metric divided by that of another; None if either is missing or the divisor is 0."""
    above, below = results.summary(name), results.summary(base)
    if above is None or below is None or below.median == 0:
        return None
    return above.median / below.median


def growth_ratios(small: Results, large: Results) -> Mapping[str, float]:
    """Each metric's median in the large file divided by that in the small file, if both were measured."""
    both = [(name, small.summary(name), large.summary(name)) for name in small]
    return {name: grown.median / base.median for name, base, grown in both if base and grown and base.median}
