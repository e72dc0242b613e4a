"""How many tasks are parked, by what they wait for: by scope for people, by platform and kind for the metric; pure."""

from collections.abc import Collection

import msgspec

from everpost.actions.limits import ShownLimits, ShownScope
from everpost.limits import EVERYTHING, Scope, platform_of
from everpost.task.holds import WaitKind

MOST_SCOPES = 20
OTHER = "other"


class ParkedTasks(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that wait for one scope.

    Attributes:
        tasks: How many; the first 1,000 accounts behind the scope are counted.
        reason: Why the scope is paused or held.
        since: UTC text: since when it is.
        until: UTC text: when a task may go on at the earliest; None if that is not known.
    """

    scope: Scope
    kind: WaitKind
    tasks: int
    reason: str | None = None
    since: str | None = None
    until: str | None = None


def parked_tasks(shown: ShownLimits, most: int = MOST_SCOPES) -> list[ParkedTasks]:
    """The scopes that most tasks wait for."""
    found = [parked for scope in shown.scopes if (parked := _parked_at(scope)) is not None]
    return sorted(found, key=lambda parked: (-parked.tasks, parked.scope))[:most]


def _parked_at(shown: ShownScope) -> ParkedTasks | None:
    use, hold = shown.use, shown.hold
    if use is None or not use.waiting:
        return None
    if hold is not None:
        return ParkedTasks(
            scope=shown.scope, kind=hold.kind, tasks=use.waiting, reason=hold.reason, since=hold.since or None
        )
    return ParkedTasks(scope=shown.scope, kind=use.kind or WaitKind.TURN, tasks=use.waiting, until=use.until)


def parked_counts(shown: ShownLimits, platforms: Collection[str]) -> dict[tuple[str, str], int]:
    """The numbers of parked tasks by platform and kind, for labels.

    The platform is `*` for what everything waits for, and `other` for those that are not in the catalogue. Tasks of
    scopes that were not looked at are of the kind `other`, so that the sum is the number of all parked tasks.
    """
    counts: dict[tuple[str, str], int] = {}
    for parked in parked_tasks(shown, len(shown.scopes)):
        platform = platform_of(parked.scope)
        label = platform if platform in platforms or platform == EVERYTHING else OTHER
        counts[label, parked.kind.value] = counts.get((label, parked.kind.value), 0) + parked.tasks
    if (rest := (shown.parked or 0) - sum(counts.values())) > 0:
        counts[OTHER, OTHER] = rest
    return counts
