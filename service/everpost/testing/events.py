"""Events of a stack, as a test reads them."""

import asyncio
import json
from typing import Any, NamedTuple

from everpost.testing.waiting import DEADLINE_S
from everpost.views.events.event import EventFilter


class StackEvent(NamedTuple):
    """An event: its type, such as `task.ended`, and its data."""

    type: str
    data: dict[str, Any]


class StackEvents:
    """The events that a test has not read yet.

    Attributes:
        wanted: Which events come.
    """

    def __init__(self, wanted: EventFilter) -> None:
        self.wanted = wanted
        self._unread: asyncio.Queue[StackEvent] = asyncio.Queue()

    async def next(self, kind: str | None = None, *, timeout_s: float = DEADLINE_S) -> StackEvent:
        """The next event, or the next one of a type; those before it are dropped.

        Raises:
            TimeoutError: No such event came in time.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                event = await self._unread.get()
                if kind in {None, event.type}:
                    return event

    def is_admitted(self) -> bool:
        """The reader of a test is always admitted."""
        return True

    def send(self, text: bytes) -> None:
        """Take what the feed sends; see `everpost.views.events.readers.Reader`."""
        for block in text.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line and line[0] != ":")
            if "data" in fields:
                self._unread.put_nowait(StackEvent(fields["event"], json.loads(fields["data"])))

    async def send_patiently(self, text: bytes) -> bool:
        """Take what the feed sends."""
        self.send(text)
        return True

    def end(self) -> None:
        """The stack stops; no more events come."""
