"""Sends readers older events: those that they missed while they were away."""

import asyncio
from collections.abc import Sequence

from everpost.views.events.details import EventDetails
from everpost.views.events.event import Event
from everpost.views.events.past import Kept, Past
from everpost.views.events.position import Position
from everpost.views.events.readers import Reader

REPLAYS = 8  # readers that are sent older events at a time, while each is waited for


class Replays:
    """Sends again what was sent before. Both methods return the new position; None if something is missing."""

    def __init__(self, past: Past, details: EventDetails) -> None:
        self._past = past
        self._details = details
        self._free = asyncio.Semaphore(REPLAYS)

    async def send_patiently(self, reader: Reader, known: Position) -> Position | None:
        """Send what comes behind the position, and wait each time until the reader reads."""
        async with self._free:
            return await self._send(reader, known, is_patient=True)

    async def send(self, reader: Reader, known: Position) -> Position | None:
        """Send what comes behind the position at once."""
        return await self._send(reader, known, is_patient=False)

    async def _send(self, reader: Reader, known: Position, *, is_patient: bool) -> Position | None:
        past = self._past
        while known.tag == past.tag and (known.event is not None or known.entry < past.last):
            first = known.entry + (known.event is None)
            kept = await past.kept_from(first)
            if not kept or kept[0].entry.number != first:
                return None
            events = await self._events_of(kept, reader)
            if known.event is not None:
                events[0] = [event for event in events[0] if event.number > known.event]
            text = b"".join(event.text for some in events for event in some if reader.wanted.matches(event))
            known = Position(known.tag, kept[-1].entry.number)
            if text and is_patient:
                if not await reader.send_patiently(text):
                    break  # it has hung up
            elif text:
                reader.send(text)
        return known if known.tag == past.tag else None

    async def _events_of(self, kept: Sequence[Kept], reader: Reader) -> list[list[Event]]:
        """The events of the entries, those that the reader wants at least."""
        unknown = [one for one in kept if one.events is None]
        made: list[list[Event]] = []
        if unknown:
            only = reader.wanted.task_ids
            made = await self._details.events_in_time([one.entry for one in unknown], self._past.tag, only)
            if only is None:
                for one, events in zip(unknown, made, strict=True):
                    one.events = events
        new = iter(made)
        return [next(new) if one in unknown else list(one.events or ()) for one in kept]
