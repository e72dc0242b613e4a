"""The port's noun `relay`: walks through the ledger, which the relay compares with Redis."""

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from everpost.task.model import QueueEntry, Task, TaskStatus

DATED_AHEAD_MS = 60_000
"""A task that was accepted so much later than `before_ms` was written before the clock was set back."""


class OddTask(msgspec.Struct, frozen=True):
    """A task that no worker can run, because another program wrote into the store.

    Attributes:
        token: What `set_aside` finds it by; opaque.
        fault: Why it cannot be run.
    """

    token: str
    fault: str


class RelayPage(msgspec.Struct, frozen=True):
    """Some tasks of the ledger.

    Attributes:
        next_cursor: The cursor of the next page; None if no page follows yet.
        resume_cursor: Where the next walk must begin, so that it finds the tasks this one could not show yet.
    """

    entries: list[QueueEntry]
    odd: list[OddTask]
    next_cursor: str | None
    resume_cursor: str | None


class RunnableTasks(msgspec.Struct, frozen=True):
    """The requested tasks that are in the ledger: with their data, or odd."""

    tasks: list[Task]
    odd: list[OddTask]


class OddFacts(msgspec.Struct, frozen=True):
    """What an odd task's row tells about its past, as stored.

    Attributes:
        task_id: The id under which it ends: its own, or one made for it.
        attempts: JSON list of the recorded attempts; None if no attempt is recorded, or they are not a list.
    """

    task_id: str
    platform: str | None
    sending: int | None
    attempts: str | None


MayBeSent = Callable[[OddFacts], bool]
"""Whether an attempt of the task may have reached the platform: then it ends as unknown (I6), else as failed. Pure."""


class SetAside(msgspec.Struct, frozen=True):
    """A task that was moved into the history; `status` is how it ended."""

    task_id: str
    status: TaskStatus


class StuckError(Exception):
    """An odd task cannot be moved into the history either, because the history has its id."""


class Relay(Protocol):
    """The ledger as the relay and `doctor` walk through it. Inherited tasks of an original file are never shown."""

    async def page(self, cursor: str | None, before_ms: int, limit: int) -> RelayPage:
        """The next tasks of the ledger that were accepted up to `before_ms`, at most `limit`.

        Tasks dated later than `before_ms` by more than `DATED_AHEAD_MS` are shown too, and so are tasks without a time.

        A walk goes from `next_cursor` to `next_cursor`. The next walk begins at the last page's `resume_cursor`. It
        finds every task that was too young for this walk, and every task that was committed after it. The time a task
        was accepted and its id do not matter: both are chosen before the task is committed, and tasks are committed in
        another order. A store must therefore not use them as its cursor alone. SQLite numbers rows under the one write
        lock, so a later commit has a higher number, and the number is the cursor. PostgreSQL has to keep the number of
        the transaction in each row, and to let `resume_cursor` end before the oldest transaction that still runs.

        Args:
            cursor: None begins with the first task.
        """

    async def runnable(self, task_ids: Collection[str]) -> RunnableTasks:
        """The tasks that are in the ledger, in the form in which they go to Redis."""

    async def callbacks(self, task_ids: Collection[str]) -> RunnableTasks:
        """The callbacks in the ledger about ended tasks, and about the batches of these."""

    async def set_aside(self, odd: OddTask, rule: MayBeSent, now_ms: int) -> SetAside | None:
        """End an odd task: move it into the history as failed or unknown; None if it has left the ledger already.

        Args:
            rule: Called with the task's facts, in the transaction that moves it.

        Raises:
            StuckError: The history cannot take it; it stays in the ledger.
            Unavailable: As `everpost.store.ledger.Ledger` says.
        """
