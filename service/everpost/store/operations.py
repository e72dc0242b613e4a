"""The port's noun `operations`: bulk work in the background, its progress, and the process that works on it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from everpost.pace import Pace
from everpost.store.changes import Change, Outcome

KEPT_SKIPS = 1_000  # of one operation; its counts include all of them
KEPT_SKIPS_OF_ALL = 100_000  # of the newest operations
KEPT_OPERATIONS = 10_000
KEPT_MS = 7 * 86_400_000  # time after an operation's end
REMEMBERED = frozenset({"cancel", "delete"})  # the kinds of operations whose tasks are kept, so that they can be undone


class OperationStatus(StrEnum):
    """The progress of bulk work."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """Bulk work as a store keeps it. Times are UTC text.

    Attributes:
        request: What it does, as JSON. Once the operation has ended, a store drops `$.task_ids` and `$.filter.task_ids`
            from it; else it does not read it.
        total: Tasks that matched when it began.
        done: Tasks looked at so far.
        succeeded: Tasks of these to which it was done; the others were skipped.
        position: Where the next step begins, as its caller wrote it; None after the last.
        error: Why it failed.
        owner: The process that is at work on it; None if none is.
        undoes: The operation that it undoes. No two operations undo the same one.
    """

    operation_id: str
    kind: str
    request: str
    status: OperationStatus
    total: int
    done: int = 0
    succeeded: int = 0
    position: str | None = None
    error: str | None = None
    owner: str | None
    created_at: str
    updated_at: str
    undoes: str | None = None


class OperationLostError(Exception):
    """Another process has taken the operation over; nothing of this step was written."""


class UndoneError(Exception):
    """Another operation undoes the same one; nothing of this one was written."""


class Operations(Protocol):
    """Keeps operations. Several processes may work on them; each operation has one owner at a time."""

    async def advance(
        self,
        operation: Operation,
        change: Change | None,
        decided: Sequence[Outcome],
        following: str | None,
        now_ms: int,
        *,
        is_new: bool = False,
        pace: Pace | None = None,
    ) -> tuple[Operation, list[Outcome]]:
        """Apply a change as `Changes.apply` does, and record the progress, in one transaction.

        So a step that a crash interrupts is either done and counted, or neither. The answer is the operation as it is
        now, and the outcomes: `decided`, then those of the change. If the change leaves tasks undecided, nothing is
        written. An outcome with a reason is kept as a skip, the first `KEPT_SKIPS` of an operation. Of operations that
        can be undone (`REMEMBERED`), all other tasks are kept, too.

        Args:
            operation: As the last step left it.
            change: None if there is no step yet: a new operation is only kept.
            decided: Outcomes of the step's tasks that the change does not touch.
            following: Where the next step begins; None ends the operation as DONE.
            is_new: The operation begins in this transaction: it is kept only if this step is.
            pace: Measures the change; its `Others`, if any, were made by this store.

        Raises:
            OperationLostError: The operation has another owner, another position, or has ended.
            UndoneError: It is new, and another operation undoes the same one.
            DatabaseBusy, Unavailable: As in `Changes.apply`.
        """

    async def fail(self, operation: Operation, error: str, now_ms: int) -> None:
        """Give an operation up. This changes nothing if it has another owner or has ended.

        What it was to undo can be undone by another operation.
        """

    async def find(
        self, operation_id: str, after: str = "", limit: int = 1_000
    ) -> tuple[Operation, list[Outcome]] | None:
        """An operation and its next kept skips, with the reasons; None if there is no such operation.

        Args:
            after: Skips whose task ids come after this one, in the order of these ids, at most `limit`.
        """

    async def find_undo(self, operation_id: str) -> str | None:
        """The operation that undoes this one; None if none does."""

    async def page_done(self, operation_id: str, after: str, limit: int) -> list[str]:
        """The kept tasks of an operation with ids after `after`, in the order of these ids, at most `limit`."""

    async def page(self, before: str | None = None, limit: int = 50) -> list[Operation]:
        """The operations whose ids come before `before`, the newest first, at most `limit`."""

    async def claim_abandoned(self, owner: str, before_ms: int, now_ms: int) -> Operation | None:
        """Make `owner` the owner of an operation that is left alone, and return it; None if all have owners.

        An operation is left alone if it runs and has no owner, or was not advanced since `before_ms`. One that was
        advanced as far ahead of `now_ms` counts too: the clock was set back, and it would wait for that time. Of
        several callers at once each gets another operation.
        """

    async def release(self, owner: str) -> None:
        """Take `owner` from its running operations, so that another process claims them at once."""
