"""The progress of a worker's running attempts: noted here at once, and sent to Redis once a second for all of them."""

import asyncio

from everpost.clock import Clock
from everpost.queue.progress import Progress, ProgressNotes

TICK_S = 1.0
REFRESH_TICKS = 20  # notes in Redis disappear sooner or later
MOST_AT_ONCE = 1_000  # notes of one command


class ProgressBoard:
    """The last progress of each running attempt."""

    def __init__(self, notes: ProgressNotes, clock: Clock) -> None:
        self._notes = notes
        self._clock = clock
        self._shown: dict[str, tuple[Progress, int]] = {}
        self._changed: dict[str, None] = {}
        self._ticks = 0
        self._has_news = asyncio.Event()

    def show(self, task_id: str, done: float, total: float | None) -> None:
        """Note how far an attempt has come."""
        self._shown[task_id] = Progress(done, total), self._clock()
        self._changed[task_id] = None
        self._has_news.set()

    def forget(self, task_id: str) -> None:
        """The attempt has ended."""
        if self._shown.pop(task_id, None) is not None:
            self._changed[task_id] = None
            self._has_news.set()

    async def tick(self) -> None:
        """Send what has changed since the last time, and now and then everything; waits while there is nothing.

        Raises:
            QueueUnreachable: Redis is away; what was to be sent is sent later.
        """
        while not self._shown and not self._changed:
            self._has_news.clear()
            await self._has_news.wait()
        self._ticks += 1
        if self._ticks % REFRESH_TICKS == 0:
            self._changed |= dict.fromkeys(self._shown)
        if not self._changed:
            return
        sent = list(self._changed)[:MOST_AT_ONCE]
        await self._notes.note({task_id: self._shown.get(task_id) for task_id in sent})
        for task_id in sent:
            self._changed.pop(task_id, None)
