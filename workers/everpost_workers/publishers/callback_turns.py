"""How many callbacks a worker sends at a time: a share of its slots, and to one host a share of these."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from everpost.publishing import RateLimitedError

SHARE = 4  # one in so many: of a worker's slots, callbacks; of these, callbacks to one host
WAIT_S = 1.0  # for a turn; then the callback waits outside the worker


class CallbackTurns:
    """Turns to send a callback. Receivers that answer slowly keep neither posts nor other receivers waiting.

    Args:
        slots: The worker's.
    """

    def __init__(self, slots: int) -> None:
        self.most = max(1, slots // SHARE)
        self._most_of_host = max(1, self.most // SHARE)
        self._turns = asyncio.Semaphore(self.most)
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._inside: dict[str, int] = {}

    @property
    def room(self) -> int:
        """How many callbacks may begin now: as many wait for their turns as are sent."""
        return max(0, 2 * self.most - sum(self._inside.values()))

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Send a callback to a host.

        Raises:
            RateLimitedError: No turn came in time.
        """
        of_host = self._hosts.setdefault(host, asyncio.Semaphore(self._most_of_host))
        self._inside[host] = self._inside.get(host, 0) + 1
        try:
            async with (
                _within(of_host, f"Other callbacks wait for {host}."),
                _within(self._turns, "Too many callbacks are being sent."),
            ):
                yield
        finally:
            self._inside[host] -= 1
            if not self._inside[host]:
                del self._inside[host], self._hosts[host]


@asynccontextmanager
async def _within(turns: asyncio.Semaphore, reason: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(WAIT_S):
            await turns.acquire()
    except TimeoutError as error:
        raise RateLimitedError(reason, retry_after_s=WAIT_S) from error
    try:
        yield
    finally:
        turns.release()
