"""The port's noun `recurring`: posts that are made again and again."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from everpost.task.duplicate_rules import Guard
from everpost.task.model import Task
from everpost.task.recurrence import Recurrence, RecurrenceStatus

MAX_PAGE = 1_000


class Recurring(Protocol):
    """Keeps recurring posts. Writes are durable when they return; they raise the errors of `Ledger`."""

    async def add(self, recurrence: Recurrence) -> None:
        """Keep a new one.

        Raises:
            RecurrenceExists: Another one has its name.
        """

    async def find(self, key: str) -> Recurrence | None:
        """The one with this id, or else with this name."""

    async def page(self, after: str, limit: int) -> list[Recurrence]:
        """Those whose names come after `after`, in the order of their names, at most `limit` of 1 to `MAX_PAGE`."""

    async def due(self, before_ms: int, limit: int) -> list[Recurrence]:
        """Active ones whose next occurrence is at `before_ms` or earlier, the earliest first, at most `limit`."""

    async def change(
        self, before: Recurrence, after: Recurrence, task: Task | None, now_ms: int, guard: Guard | None = None
    ) -> bool:
        """Replace one, and write a task into the ledger, in one transaction.

        Of concurrent changes of one version with one next occurrence, exactly one succeeds. So an occurrence is one
        task, however many processes make it.

        Args:
            task: The task of an occurrence; None writes none.
            guard: What later tasks are compared with. The occurrence itself is not refused.

        Returns:
            False if it is not as `before` says any more: then nothing was written.

        Raises:
            RecurrenceExists: Another one has the new name; nothing was written.
            TaskExistsError: The ledger has the task; nothing was written.
        """

    async def remove(self, recurrence_id: str) -> bool:
        """Remove one; False if it does not exist. Its tasks stay."""


def recurrence_row(recurrence: Recurrence) -> dict[str, Any]:
    """A recurring post as the named values of a row."""
    row = msgspec.structs.asdict(recurrence)
    return row | {"status": recurrence.status.value, "task_data": recurrence.task_data.decode()}


def changed_row(before: Recurrence, after: Recurrence) -> dict[str, Any]:
    """The new row, and what the row must have for it to be replaced."""
    old = {"old_version": before.version, "old_next_at": before.next_at, "old_status": before.status.value}
    return recurrence_row(after) | old


def recurrence_of(row: Mapping[str, Any]) -> Recurrence:
    """The recurring post in a row."""
    data: str = row["task_data"]
    return Recurrence(**{**row, "status": RecurrenceStatus(row["status"]), "task_data": data.encode()})
