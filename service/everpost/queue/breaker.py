"""A circuit breaker: nobody waits for a Redis that is known not to answer."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger("everpost.queue")

PROBE_EVERY_S = 0.5


class Breaker:
    """Open from the first failure until a probe is answered.

    The probing is done in the background: finding out whether Redis is back costs no caller anything.

    Args:
        probe: Whether Redis answers, found out within a bounded time.
    """

    def __init__(self, probe: Callable[[], Awaitable[bool]]) -> None:
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether Redis is to be left alone."""
        return self._probing is not None

    def trip(self, refusal: str | None = None) -> None:
        """Redis did not answer, or refused to with these words."""
        if self._probing is None:
            told = {} if refusal is None else {"refusal": refusal}
            log.warning("queue.away", **told)
            self._probing = asyncio.create_task(self._probe_until_answered(), name="redis probe")

    async def stop(self) -> None:
        """End the probing; it closes the breaker."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait((self._probing,))

    async def _probe_until_answered(self) -> None:
        try:
            while True:
                if await self._probe():
                    break
                await asyncio.sleep(PROBE_EVERY_S)
            log.info("queue.back")
        finally:
            self._probing = None
