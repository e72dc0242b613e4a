"""The port's noun `held`: the tasks that a restore holds, and how they are released."""

from collections.abc import Collection, Sequence
from typing import Protocol

from everpost.task.model import TaskRecord


class Held(Protocol):
    """The tasks of the ledger that were unfinished in a restored backup, and may have been sent since.

    A task stays held until `let_go`. Tasks that are accepted during the pause are not held.
    """

    async def count(self) -> int:
        """How many tasks are held."""

    async def page(self, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """The ids of the next held tasks, at most `limit`, and the cursor of the ones behind them; None at the end.

        Tasks that are let go between two pages do not move the cursor: each held task comes once.

        Args:
            cursor: None is the beginning.
        """

    async def let_go(self, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
        """End some held tasks, and free others so that they can run; all of it or nothing.

        Tasks that are not held stay as they are, so it can be repeated.
        """
