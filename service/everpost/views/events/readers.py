"""The readers of a feed, found by what they want: an event costs nothing for readers that cannot want it."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count
from typing import Protocol

from everpost.views.events.event import Event, EventFilter, keys_of


class Reader(Protocol):
    """A client that reads events."""

    @property
    def wanted(self) -> EventFilter:
        """What it wants; this never changes."""

    def is_admitted(self) -> bool:
        """Whether it may go on: its key was not revoked meanwhile."""

    def send(self, text: bytes) -> None:
        """Send it text now, or hang up if it does not read what it was sent before."""

    async def send_patiently(self, text: bytes) -> bool:
        """Send it text, and wait until it has read most of it; False if it has hung up."""

    def end(self) -> None:
        """End its stream."""


class Readers:
    """The readers that are sent what comes.

    Attributes:
        task_ids: The tasks that are named by readers who want only named tasks.
    """

    def __init__(self) -> None:
        self._turns: dict[Reader, int] = {}
        self._numbers = count()
        self._by_key: dict[tuple[str, str] | None, dict[EventFilter, dict[Reader, None]]] = {}
        self._by_task: dict[str, dict[Reader, None]] = {}
        self._types: Counter[str | None] = Counter()
        self._broad = 0

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[Reader]:
        return iter(self._turns)

    @property
    def has_broad(self) -> bool:
        """Whether there are readers that do not name their tasks."""
        return self._broad > 0

    @property
    def task_ids(self) -> Collection[str]:
        """The tasks that readers name."""
        return self._by_task.keys()

    @property
    def types(self) -> frozenset[str] | None:
        """The types that readers want; None is all."""
        return None if self._types[None] else frozenset(kind for kind in self._types if kind is not None)

    def add(self, reader: Reader) -> None:
        """Send it what comes from now on."""
        self._turns[reader] = next(self._numbers)
        self._types.update(reader.wanted.types or (None,))
        if reader.wanted.task_ids is None:
            self._broad += 1
            self._by_key.setdefault(reader.wanted.key, {}).setdefault(reader.wanted, {})[reader] = None
            return
        for task_id in reader.wanted.task_ids:
            self._by_task.setdefault(task_id, {})[reader] = None

    def discard(self, reader: Reader) -> None:
        """Send it nothing more."""
        if self._turns.pop(reader, None) is None:
            return
        self._types -= Counter(reader.wanted.types or (None,))
        if reader.wanted.task_ids is None:
            self._broad -= 1
            self._discard_broad(reader)
            return
        for task_id in reader.wanted.task_ids:
            readers = self._by_task[task_id]
            del readers[reader]
            if not readers:
                del self._by_task[task_id]

    def texts_for(self, events: Sequence[Event]) -> list[tuple[Reader, bytes]]:
        """The text for each reader that wants some of the events. Readers with the same filter get the same object."""
        by_filter: dict[EventFilter, list[bytes]] = {}
        by_reader: dict[Reader, list[bytes]] = {}
        for event in events:
            for key in keys_of(event):
                for wanted in self._by_key.get(key, ()):
                    if wanted.matches(event):
                        by_filter.setdefault(wanted, []).append(event.text)
            for reader in self._by_task.get(event.task_id, ()):
                if reader.wanted.matches(event):
                    by_reader.setdefault(reader, []).append(event.text)
        texts = [(reader, b"".join(found)) for reader, found in by_reader.items()]
        for wanted, found in by_filter.items():
            text = b"".join(found)
            texts += [(reader, text) for reader in self._by_key[wanted.key][wanted]]
        return texts

    def of_turn(self, turn: int, turns: int) -> Iterable[Reader]:
        """The readers of one of so many turns."""
        return [reader for reader, number in self._turns.items() if number % turns == turn]

    def _discard_broad(self, reader: Reader) -> None:
        wanted = reader.wanted
        filters = self._by_key[wanted.key]
        del filters[wanted][reader]
        if not filters[wanted]:
            del filters[wanted]
        if not filters:
            del self._by_key[wanted.key]
