"""The port's care: whether the store can be written, and the work that keeps it in order behind the tasks."""

from typing import Protocol

import msgspec

from everpost.errors import ServiceError
from everpost.pace import Others


class StoreState(msgspec.Struct, frozen=True):
    """How the store is doing, as this process knows without asking it.

    Attributes:
        waiting_writes: How many writes of this process wait for the one under way.
        log_bytes: The length of the write-ahead log when it was last looked at; 0 where there is none.
        has_long_log: A reader that does not end keeps the log from starting anew.
        trouble: Why the last write failed, if the store was at fault and no write has reached the disk since.
    """

    waiting_writes: int
    log_bytes: int
    has_long_log: bool
    trouble: ServiceError | None


class Care(Protocol):
    """Checks and upkeep. Writes raise what `everpost.store.ledger.Ledger` says."""

    def state(self) -> StoreState:
        """How the store is doing; it asks nothing and costs nothing."""

    async def check_writable(self, now_ms: int) -> None:
        """Write something, durably.

        Raises:
            Unavailable: That cannot be done now.
        """

    async def check_trouble(self, now_ms: int) -> None:
        """`check_writable` if the last write failed; else nothing."""

    async def fill_search(self, limit: int = 1_000) -> int:
        """Put the next ended tasks into the index of texts, at most `limit`; how many there were.

        It goes in small steps. Several processes may do it at once: of two that took the same tasks, one does nothing
        and answers 0.
        """

    async def repair_counts(self) -> int:
        """Count the tasks anew, and correct the numbers that are kept of them; how many numbers were wrong.

        Raises:
            SearchTimeout: There are too many tasks to count them in time.
        """

    async def expire_keys(self, kept_ms: int, limit: int = 1_000) -> int:
        """Forget Idempotency-Keys that were kept for so much running time, at most `limit`; how many there were."""

    def watch_others(self) -> Others:
        """What tells long work whether others write meanwhile, this process's other work included."""
