"""Cutting work into portions by bytes: each takes a bounded time, and none is empty."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def count_fitting(sizes: Iterable[int], most_bytes: int) -> int:
    """How many items, from the first on, have no more than `most_bytes` together; at least 1 if there is one.

    No size after the first that does not fit is read.
    """
    count = total_bytes = 0
    for size_bytes in sizes:
        total_bytes += size_bytes
        if count and total_bytes > most_bytes:
            break
        count += 1
    return count


def portions(items: Sequence[Item], most_bytes: int, size_of: Callable[[Item], int]) -> Iterator[Sequence[Item]]:
    """The items, in order, in portions of no more than `most_bytes`; an item that is larger has one to itself."""
    while items:
        count = count_fitting(map(size_of, items), most_bytes)
        yield items[:count]
        items = items[count:]
