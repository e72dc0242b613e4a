"""The port's noun `meta`: values that all processes of a store share."""

from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import uuid4

from everpost.running_time import ClockMark

CHECKED_AT = "checked_at"  # set to find out whether the store can be written
EPOCH = "epoch"  # the Redis that was compared with the store last
LEADER = "upkeep"  # which worker leads the upkeep, as JSON
EVENTS_DEBT = "events_debt"  # names a change of which readers of events were not told; empty: they were told of all
CLOCK = "clock"  # the mark of `count_time` as JSON

HIDDEN_IN_SEARCH = "hidden_in_search"  # the digest of the redactor by which the search index was filled
MOVE = "move"  # the part of the store in its last move, as JSON; see `everpost.store.moving`
IDENTITY = "identity"  # of the database: a random name

CountStep = Callable[[ClockMark | None], ClockMark]
"""The rule of `count_time`: the mark that follows the stored one. Pure; it may be called twice."""


class Meta(Protocol):
    """Values by name. Writes are durable when they return; they raise the errors of `everpost.store.ledger.Ledger`."""

    def now_ms(self) -> int:
        """The time that all processes of the store share, whatever the clocks of their hosts; this does no I/O.

        UTC milliseconds. A database on a host of its own gives its clock's time, which is learned once a second.
        """

    async def get(self, key: str) -> str | None:
        """The value under `key`; None if the key was never set, or was removed."""

    async def get_all(self, keys: Sequence[str]) -> dict[str, str]:
        """The values under these keys that are set, in one read."""

    async def set(self, key: str, value: str | None) -> None:
        """Put `value` under `key`, in place of an earlier one; None removes the key."""

    async def replace(self, key: str, old: str | None, value: str) -> bool:
        """Put `value` under `key` if `old` is there, None for a key that was never set; False if something else is."""

    async def count_time(self, rule: CountStep) -> ClockMark:
        """Replace the mark by the one that `rule` makes from it, under the store's lock, so that no step is lost.

        The mark is kept under `CLOCK`. If it is missing or malformed, the rule is given None. The store also keeps the
        mark's `counted_ms`, by which the ages of Idempotency-Keys are measured.
        """


async def note_debt(meta: Meta) -> None:
    """Note that readers of events have missed something.

    Raises:
        Unavailable: The store cannot be written.
    """
    await meta.set(EVENTS_DEBT, uuid4().hex)


async def identity_of(meta: Meta) -> str:
    """The name by which processes know that they use the same database; it gets one if it has none.

    Raises:
        Unavailable: The store cannot be read or written.
    """
    while (identity := await meta.get(IDENTITY)) is None:
        await meta.replace(IDENTITY, None, uuid4().hex)
    return identity
