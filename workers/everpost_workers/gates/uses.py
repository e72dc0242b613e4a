"""When attempts with a limit began, as an emptied Redis is told; pure."""

from collections.abc import Iterable, Mapping

from everpost.limits import EVERYTHING, Scope, platform_of
from everpost.store.limits import Use
from everpost.task.gate_table import GateTable

MOST_TOLD = 10_000  # times of one scope: no rate has a larger count


def uses_by_scope(
    uses: Iterable[Use], table: GateTable, now_ms: int, ahead_ms: int
) -> Mapping[Scope, tuple[list[int], int]]:
    """For each scope with a rate, a gap or a daily limit: when attempts began, the newest first, and how many today.

    Args:
        uses: The newest first.
        ahead_ms: How far the clock of Redis is ahead of the store's.
    """
    found: dict[Scope, tuple[list[int], int]] = {}
    began_ms: dict[Scope, int] = {}  # the present day
    for use in uses:
        for scope in (use.lane, platform_of(use.lane), EVERYTHING):
            if table.limits_of(scope).counts_uses:
                times, today = found.get(scope, ([], 0))
                if len(times) < MOST_TOLD:
                    times.append(use.used_at_ms + ahead_ms)
                if scope not in began_ms:
                    began_ms[scope] = table.day_began_ms(now_ms, scope)
                found[scope] = (times, today + (use.used_at_ms >= began_ms[scope]))
    return found
