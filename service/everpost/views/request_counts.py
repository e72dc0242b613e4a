"""Counts the HTTP requests that this process has answered, for /metrics."""

from bisect import bisect_left
from collections import defaultdict
from typing import TypeAlias

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Answered:
    """The requests of one method to one route that were answered with one status.

    Attributes:
        count: The number of requests.
        buckets: The number of requests by duration: up to each of `BOUNDS_S`, and longer than the last.
        seconds: The sum of their durations.
    """

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def add(self, took_s: float) -> None:
        """Count the duration of a request."""
        self.buckets[bisect_left(BOUNDS_S, took_s)] += 1
        self.seconds += took_s


AnsweredRequests: TypeAlias = defaultdict[tuple[str, str, int], Answered]
"""By method, route and status."""
