"""The port's noun `pause`: the pause of dispatch after a restore, the held tasks, and how they are released."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec
import structlog

from everpost.task.model import TaskRecord

KEY = "paused"  # among the values of `everpost.store.meta.Meta`; while it is there, no worker claims anything

log = structlog.get_logger("everpost.dispatch")


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Why dispatch is paused, as it was when the backup took the database's place.

    Attributes:
        newest_at: The time of the newest row. What happened since is not in the database.
        sending: Tasks that were being sent when the backup was made; they are unknown now.
        held: Tasks that were unfinished in it, and may have been sent since.
        scheduled: Tasks that were not due before the restore; they wait for their time.
        operations: Bulk requests that were under way; they are given up.
        replaced: Where the database is that was there before; None if there was none.
        left_out: What acts by itself and is not Everpost's: triggers, views and the like. It was not restored.
    """

    backup: str
    restored_at: str
    newest_at: str | None
    ended: int
    sending: int
    held: int
    scheduled: int
    operations: int
    replaced: str | None
    left_out: tuple[str, ...] = ()


class Pauses(Protocol):
    """The pause of dispatch. A restore begins it; while there is one, no worker claims a task.

    A held task is a task of the ledger that was unfinished in the backup. It stays held until `let_go`. Tasks that are
    accepted during the pause are not held.
    """

    async def find(self) -> Pause | None:
        """The pause; None if dispatch goes on."""

    async def count_held(self) -> int:
        """How many tasks are held."""

    async def held_page(self, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """The ids of the next held tasks, at most `limit`, and the cursor of the ones behind them; None at the end.

        Tasks that are let go between two pages do not move the cursor: each held task comes once.

        Args:
            cursor: None is the beginning.
        """

    async def let_go(self, ended: Sequence[TaskRecord], released: Collection[str]) -> None:
        """End some held tasks, and free others so that they can run; all of it or nothing.

        Tasks that are not held stay as they are, so it can be repeated.
        """

    async def end(self) -> None:
        """End the pause. This can be repeated."""


async def warn_of_pause(pauses: Pauses) -> bool:
    """Log the pause; False if dispatch is not paused."""
    pause = await pauses.find()
    if pause is not None:
        log.warning("dispatch.paused", resume_with="everpost resume", **msgspec.structs.asdict(pause))
    return pause is not None
