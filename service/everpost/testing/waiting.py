"""Waits for a condition of a test."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

DEADLINE_S = 20.0
PAUSES_S = (0.005, 0.05)  # the shortest and the longest


def pause_s(waited_s: float) -> float:
    """How long to wait before the next look: each look takes processor time from what is waited for."""
    shortest_s, longest_s = PAUSES_S
    return min(longest_s, max(shortest_s, waited_s / 5))


async def eventually(
    condition: Callable[[], Awaitable[Found]], *, timeout_s: float = DEADLINE_S, what: str = "the condition"
) -> Found:
    """Wait until `condition` returns something true, and return that.

    Raises:
        TimeoutError: It did not within `timeout_s` seconds; the message has the last value.
    """
    began_s = time.monotonic()
    while not (found := await condition()):
        waited_s = time.monotonic() - began_s
        if waited_s > timeout_s:
            raise TimeoutError(f"{what} did not come true within {timeout_s:g} s; last seen: {found!r}")
        await asyncio.sleep(pause_s(waited_s))
    return found
