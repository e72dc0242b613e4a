"""The order in which claims read the queues."""

from collections.abc import Iterator

import msgspec

RESERVED_SHARE = 10  # one slot in so many is kept for the less urgent queues


class QueueTurns:
    """Plans each claim so that urgent jobs go first and no queue starves.

    A tenth of each claim's slots, at least one, is offered to the less urgent queues first; a claim of a single slot is
    offered to them every tenth time. They come first in turns, beginning with the least urgent.
    """

    def __init__(self, queue_count: int) -> None:
        self._in_order = list(range(1, queue_count + 1))
        self._turns = self._endless_turns()
        self._singles = 0

    def passes(self, limit: int) -> bytes:
        """The passes of a claim of `limit` slots, as `claim.lua` reads them."""
        return msgspec.json.encode(self._plan(limit))

    def _plan(self, limit: int) -> list[tuple[int, list[int]]]:
        if len(self._in_order) == 1:
            return [(limit, self._in_order)]
        if limit == 1:
            self._singles += 1
            is_reserved = self._singles % RESERVED_SHARE == 0
            return [(1, next(self._turns) if is_reserved else self._in_order)]
        reserved = max(1, limit // RESERVED_SHARE)
        return [(limit - reserved, self._in_order), (reserved, next(self._turns)), (0, self._in_order)]

    def _endless_turns(self) -> Iterator[list[int]]:
        less_urgent = self._in_order[:0:-1]
        while True:
            yield [*less_urgent, self._in_order[0]]
            less_urgent = [*less_urgent[1:], less_urgent[0]]
