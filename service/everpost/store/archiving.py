"""Archiving by age, written once for every store."""

from collections.abc import AsyncIterator

from everpost.clock import Clock
from everpost.pace import Pace
from everpost.store import Store
from everpost.store.archive import Reason
from everpost.store.changes import Remove
from everpost.task.removal_rules import decide_archiving


async def archive_older(store: Store, before_ms: int, pace: Pace, clock: Clock) -> AsyncIterator[int]:
    """Move the tasks of `Archive.page_older` to the archive; yield how many each step moved.

    Each step is one transaction, so a crash leaves every task in exactly one place (I1), and the work can be begun
    again.
    """
    while count := await store.archive.archive_whole(before_ms, clock()):
        yield count
    cursor: str | None = None
    while True:
        async with pace.step() as size:
            task_ids, cursor = await store.archive.page_older(before_ms, cursor, size)
            change = Remove(task_ids, Reason.AGE, decide_archiving)
            outcomes = await store.changes.apply(change, clock(), pace) if task_ids else []
        yield sum(outcome.reason is None for outcome in outcomes)
        if cursor is None:
            return
