"""Waits for a condition of a test."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

DEADLINE_S = 20.0


async def eventually(
    condition: Callable[[], Awaitable[Found]], *, timeout_s: float = DEADLINE_S, what: str = "the condition"
) -> Found:
    """Wait until `condition` returns something true, and return that.

    Raises:
        TimeoutError: It did not within `timeout_s` seconds; the message has the last value.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := await condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {timeout_s:g} s; last seen: {found!r}")
        await asyncio.sleep(0.005)
    return found
