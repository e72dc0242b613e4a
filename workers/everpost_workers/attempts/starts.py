"""Tells readers of events which tasks start, beside the work: no task waits for it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from everpost.errors import QueueUnreachable
from everpost.queue.event_teller import EventTeller, Told


class Starts:
    """Tells of starts."""

    def __init__(self, events: EventTeller) -> None:
        self._events = events
        self._telling: set[asyncio.Task[None]] = set()

    def tell(self, task_ids: Sequence[str]) -> None:
        """Tell that these tasks start now."""
        if task_ids:
            telling = asyncio.get_running_loop().create_task(self._tell(task_ids))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def wait(self) -> None:
        """Wait until all starts are told, so that no end is told before its start."""
        if self._telling:
            await asyncio.wait(self._telling)

    async def _tell(self, task_ids: Sequence[str]) -> None:
        with suppress(QueueUnreachable):  # their ends will be told
            await self._events.tell(Told.STARTED, task_ids)
