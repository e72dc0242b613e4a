"""A circuit breaker: while Redis is known not to answer, callers do not wait for it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger("everpost.queue")

PROBE_EVERY_S = 0.5


class Breaker:
    """Open from the first failure until Redis answers a probe.

    The probes run in the background, so no caller waits for them.

    Args:
        probe: Checks within a limited time whether Redis answers.
    """

    def __init__(self, probe: Callable[[], Awaitable[bool]]) -> None:
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether Redis must not be called now."""
        return self._probing is not None

    def trip(self, refusal: str | None = None) -> None:
        """Note that Redis did not answer, or refused with these words."""
        if self._probing is None:
            told = {} if refusal is None else {"refusal": refusal}
            log.warning("queue.away", **told)
            self._probing = asyncio.create_task(self._probe_until_answered(), name="redis probe")

    async def stop(self) -> None:
        """End the probes, and close the breaker."""
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
