"""The port's small memory: what all processes that share a store remember together."""

from collections.abc import Callable
from typing import Protocol

from everpost.running_time import ClockMark

CountStep = Callable[[ClockMark | None], ClockMark]
"""The rule of `count_time`: the mark that follows the stored one. Pure; it may be called twice."""


class Meta(Protocol):
    """Values by name. Writes are durable when they return; they raise what `everpost.store.ledger.Ledger` says."""

    async def get(self, key: str) -> str | None:
        """The value under `key`; None if there is none."""

    async def set(self, key: str, value: str) -> None:
        """Put `value` under `key`, in place of an earlier one."""

    async def find_clock_mark(self) -> ClockMark | None:
        """What the last worker to count the running time saw; None if none has, or the stored mark is malformed."""

    async def count_time(self, rule: CountStep) -> ClockMark:
        """Replace the mark by the one that `rule` makes of it, under the store's lock; no step of another is lost.

        The store also keeps the mark's `counted_ms`: ages of Idempotency-Keys are measured by it.
        """
