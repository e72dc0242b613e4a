"""Adding up what all processes count, in one hash in Redis."""

import asyncio

import structlog

from everpost.errors import QueueUnreachable
from everpost.metrics import Field, Tally, read_numbers
from everpost.queue.client import TaskQueue

log = structlog.get_logger("everpost.metrics")

EVERY_S = 1.0


class SharedMetrics:
    """Brings a process's tally to Redis again and again. What Redis does not take waits in the tally.

    Attributes:
        tally: Where the process counts.
    """

    def __init__(self, queue: TaskQueue) -> None:
        self.tally = Tally()
        self._queue = queue
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._loop = asyncio.create_task(self._send_often(), name="metrics")

    async def close(self) -> None:
        """Stop, and send what is left if Redis takes it."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        await self.send()

    async def send(self) -> None:
        """Send what was counted since the last time.

        If the answer is lost they may be counted twice; the tasks themselves are counted in SQLite.
        """
        numbers = self.tally.take()
        if not numbers:
            return
        try:
            await self._queue.add_numbers(numbers)
        except QueueUnreachable:
            self.tally.give_back(numbers)
        except BaseException:
            self.tally.give_back(numbers)
            raise

    async def read(self) -> dict[Field, int]:
        """The numbers of all processes, those of this one up to now.

        Raises:
            QueueUnreachable: Redis does not answer.
        """
        await self.send()
        return read_numbers(await self._queue.numbers())

    async def _send_often(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.send()
            except Exception:
                log.exception("metrics.send_failed")
