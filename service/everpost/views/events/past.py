"""What the feed has sent of one stream: up to where, and the last entries in memory, for readers that come back."""

from collections import deque

from everpost.errors import QueueUnreachable
from everpost.queue.event_log import Entry, EventLog, Heard
from everpost.views.events.event import Event
from everpost.views.events.position import Position

MOST_AT_ONCE = 64  # entries of one look at the stream
RECENT = 2_000  # entries that are kept in memory
RECENT_TASKS = 5_000


class Kept:
    """An entry, and its events once all of them were made."""

    __slots__ = ("entry", "events")

    def __init__(self, entry: Entry, events: list[Event] | None) -> None:
        self.entry = entry
        self.events = events


class Past:
    """What was sent. Older entries than those in memory are read from the stream.

    Attributes:
        tag: That of the stream; empty while no stream is read.
        last: The number of the last entry that was sent.
    """

    def __init__(self, event_log: EventLog) -> None:
        self._log = event_log
        self.tag = ""
        self.last = 0
        self._recent: deque[Kept] = deque()
        self._recent_tasks = 0

    @property
    def here(self) -> Position:
        """The position of a reader that has all there was."""
        return Position(self.tag, self.last)

    @property
    def is_known(self) -> bool:
        """Whether a stream is read."""
        return bool(self.tag)

    def goes_on_in(self, heard: Heard) -> bool:
        """Whether the stream is still the same one, and has everything that comes next."""
        return heard.tag == self.tag and heard.last >= self.last and heard.first <= self.last + 1

    def forget(self) -> None:
        """No stream is read any more."""
        self._recent.clear()
        self._recent_tasks, self.tag, self.last = 0, "", 0

    async def begin(self, heard: Heard) -> None:
        """Begin at the end of a stream, with its last entries: readers of another process may come back to this one.

        Raises:
            QueueUnreachable: Redis does not answer; no stream is read then.
        """
        self.forget()
        first = max(heard.first, heard.last - RECENT + 1)
        recent: list[Kept] = []
        while first <= heard.last:
            found = await self._log.read(first, RECENT)
            if not found:
                break
            recent += [Kept(entry, None) for entry in found if entry.number <= heard.last]
            first = found[-1].number + 1
        for one in recent:
            self.add(one)
        self.tag, self.last = heard.tag, heard.last

    def add(self, one: Kept) -> None:
        """The next entry was sent."""
        self.last = one.entry.number
        self._recent.append(one)
        self._recent_tasks += len(one.entry.task_ids)
        while len(self._recent) > RECENT or self._recent_tasks > RECENT_TASKS:
            self._recent_tasks -= len(self._recent.popleft().entry.task_ids)

    async def has_all_after(self, known: Position) -> bool:
        """Whether everything behind the position can still be read."""
        if known.tag != self.tag or known.entry > self.last:
            return False
        if known.entry == self.last and known.event is None:
            return True
        if self._recent and self._recent[0].entry.number <= known.entry:
            return True
        try:
            first = await self._log.read(0, 1)
        except QueueUnreachable:
            return False
        return bool(first) and first[0].number <= known.entry + (known.event is None)

    async def kept_from(self, number: int) -> list[Kept]:
        """Some entries from this number on, at most up to the last one that was sent; none if Redis does not answer."""
        recent = self._recent
        if recent and recent[0].entry.number <= number:
            start = number - recent[0].entry.number
            return [recent[at] for at in range(start, min(start + MOST_AT_ONCE, len(recent)))]
        try:
            found = await self._log.read(number, MOST_AT_ONCE)
        except QueueUnreachable:
            return []
        return [Kept(entry, None) for entry in found if entry.number <= self.last]
