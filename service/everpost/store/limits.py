"""The port's noun `limits`: what people set at run time, and when attempts with a limit began."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from everpost.limits import Scope
from everpost.task.holds import ChangeScope, ScopeState

VERSION = "limits_version"  # among the values of `everpost.store.meta.Meta`: grows with each change
CLOSED = "limits_closed"  # the same: another value whenever a scope has been closed
MOST_USES = 200_000  # that are read at once


class StoredLimits(msgspec.Struct, frozen=True):
    """All scopes of which something is set.

    Attributes:
        version: Grows with each change.
    """

    version: int
    scopes: dict[Scope, ScopeState]


def version_in(value: str | None) -> int:
    """The version that is stored under `VERSION`; 0 if none is."""
    return int(value) if value is not None and value.isdecimal() else 0


class Use(msgspec.Struct, frozen=True):
    """An attempt that began although its account has a rate, a gap or a daily limit."""

    task_id: str
    lane: Scope
    used_at_ms: int


class Limits(Protocol):
    """Limits, holds and uses. Writes are durable when they return; they raise the errors of the port's ledger."""

    async def version(self) -> int:
        """The number of changes so far; this is cheap."""

    async def find(self) -> StoredLimits:
        """Everything that is set."""

    async def find_state(self, scope: Scope) -> ScopeState:
        """What is set for one scope."""

    async def find_states(self, scopes: Collection[Scope]) -> dict[Scope, ScopeState]:
        """What is set for those of these scopes for which something is."""

    async def change(self, scope: Scope, rule: ChangeScope, now_ms: int) -> ScopeState:
        """Replace a scope's state by the one that `rule` makes of it, under the store's lock; the state afterwards."""

    async def note_uses(self, uses: Sequence[Use]) -> None:
        """Keep when attempts begin, before they do."""

    async def uses_since(self, since_ms: int) -> list[Use]:
        """The attempts that began since then, the newest first, at most `MOST_USES`."""

    async def close(self, scope: Scope, until_ms: int) -> None:
        """Keep until when a scope is closed, because its platform answered "too fast"; the latest time counts.

        The value under `CLOSED` is another one afterwards, so that other processes notice.
        """

    async def closures(self, now_ms: int) -> dict[Scope, int]:
        """The scopes that are closed, and until when."""

    async def forget_uses(self, before_ms: int, limit: int = 1_000) -> int:
        """Remove uses and closures that are older, at most `limit` of each; how many went."""
