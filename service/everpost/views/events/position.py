"""Where a reader is in the stream of events: the ids of events. They mean the same to every process of the API."""

import re

import msgspec

from everpost.queue.event_log import TAG_DIGITS

ID = re.compile(rf"([0-9a-f]{{{TAG_DIGITS}}})-(\d{{1,15}})(?:-(\d{{1,9}}))?")


class Position(msgspec.Struct, frozen=True):
    """The last event that a reader has.

    Attributes:
        tag: That of the stream.
        entry: The number of the event's entry.
        event: Which event of this entry, from 0; None if the reader has all of them.
    """

    tag: str
    entry: int
    event: int | None = None

    def __str__(self) -> str:
        return f"{self.tag}-{self.entry}" + ("" if self.event is None else f"-{self.event}")


def read_position(text: str) -> Position | None:
    """The position that an id of an event names; None if the text is not an id of an event."""
    found = ID.fullmatch(text)
    if found is None:
        return None
    tag, entry, event = found.groups()
    return Position(tag, int(entry), None if event is None else int(event))
