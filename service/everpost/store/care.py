"""The port's noun `care`: whether the store can be written, and its upkeep in the background."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from everpost.errors import ServiceError
from everpost.pace import Others


class StoreState(msgspec.Struct, frozen=True):
    """The state of the store as this process knows it, without asking the store.

    Attributes:
        waiting_writes: How many writes of this process wait for the running one.
        log_bytes: The length of the write-ahead log at the last check; 0 if the store has none.
        has_long_log: A long-running reader keeps the log from restarting.
        host_ahead_ms: How far this host's clock is ahead of the store's; 0 if the store has no clock of its own.
        is_reachable: Whether the store answered when it was asked last, a second ago.
        trouble: Why the last write failed, if the store was at fault and no write has reached the disk since.
        may_lack_commits: Dispatch is paused since this process found another server in the place of its own.
    """

    waiting_writes: int
    log_bytes: int
    has_long_log: bool
    host_ahead_ms: int
    is_reachable: bool
    trouble: ServiceError | None
    may_lack_commits: bool = False


NoteTimeline = Callable[[str, str], Awaitable[str]]
"""Report the cluster and timeline of a primary; the newest timeline that any process has reported for the cluster."""


class Care(Protocol):
    """Checks and upkeep. Writes raise the errors of `everpost.store.ledger.Ledger`."""

    def state(self) -> StoreState:
        """The present state; this does no I/O."""

    def share_timelines(self, note_timeline: NoteTimeline) -> None:
        """From now on, use no primary of an older timeline than the other processes'; a store without any does nothing.

        Tasks are claimed only after a look at the timelines, and a new primary is used only after it was reported.
        """

    async def fill_search(self, limit: int = 1_000) -> int:
        """Add the next ended tasks to the full-text index, at most `limit`; return how many.

        This is done in small steps. Several processes may do it at once: if two take the same tasks, one of them does
        nothing and returns 0.
        """

    async def tend(self, now_ms: int) -> None:
        """Do what the store needs every few seconds to stay quick. Several processes may do it at once."""

    async def repair_counts(self) -> int:
        """Count the tasks anew, and correct the stored counts; return how many counts were wrong.

        Raises:
            SearchTimeout: There are too many tasks to count them in time.
        """

    async def forget_expired(self, keys_kept_ms: int, now_ms: int | None, limit: int = 1_000) -> int:
        """Remove what is kept for a time only, at most `limit` of each kind; return how many were removed.

        - Idempotency-Keys, if they are older than `keys_kept_ms` of running time.
        - Digests of posts whose window has ended.
        - Operations that have ended, and their skips. The newest `KEPT_OPERATIONS` stay for `KEPT_MS` after their end,
          and the newest `KEPT_SKIPS_OF_ALL` skips with them; see `everpost.store.operations`.

        The answer 0 means that nothing is left to remove.

        Args:
            now_ms: None while the clock may be wrong: then no operation is removed because of its age.
        """

    def watch_others(self) -> Others:
        """Tells long work whether others write meanwhile: other work of this process.

        In a store whose writers wait for each other, other processes are among them.
        """
