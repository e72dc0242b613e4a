"""The times of a filter as conditions on `created_at`, a text.

Everpost's rows have UTC texts, which sort by time. Rows of an original file have local times, which do not sort among
them: those that are near a bound are looked up, and compared one by one.
"""

from datetime import tzinfo
from typing import Any

import msgspec

from everpost.clock import read_time
from everpost.store.history import TaskFilter
from everpost.store.lists.cursor import LAST
from everpost.store.lists.local_times import HOUR_MS, spellings_of, text_of
from everpost.store.postgresql.link.connection import Connection


class Bound(msgspec.Struct, frozen=True):
    """One bound of the time.

    Attributes:
        at: Its UTC text.
        low, high: Local times below `low` are before the bound, and those above `high` are not.
        near: The local times between the two that are not before the bound; None if there are no local times there.
    """

    at: str
    low: str
    high: str
    near: tuple[str, ...] | None


class TimeBounds(msgspec.Struct, frozen=True):
    """The bounds of a filter: tasks are created at `start` or later, and before `end`."""

    start: Bound | None = None
    end: Bound | None = None

    def before(self, at: str) -> str:
        """The lower of a list's position and the end."""
        return at if self.end is None else min(at, self.end.at if self.end.near is None else self.end.high)

    def conditions(self, created_at: str) -> list[str]:
        """The conditions on this column."""
        found = []
        if self.start is not None and self.start.near is None:
            found.append(f"{created_at} >= :start")
        elif self.start is not None:
            found += [f"{created_at} >= :start_low", _is_later(created_at, "start")]
        if self.end is not None and self.end.near is None:
            found.append(f"{created_at} < :end")
        elif self.end is not None:
            found += [f"{created_at} < :end_high", f"NOT {_is_later(created_at, 'end')}"]
        return found

    def parameters(self) -> dict[str, Any]:
        """Their parameters."""
        values: dict[str, Any] = {}
        for name, bound in (("start", self.start), ("end", self.end)):
            if bound is not None:
                values |= {name: bound.at, f"{name}_low": bound.low, f"{name}_high": bound.high}
                values[f"{name}_near"] = [*(bound.near or ())]
        return values


def _is_later(created_at: str, name: str) -> str:
    """The condition that a task was not created before a bound."""
    local = f"{created_at} > :{name}_high OR {created_at} = ANY (:{name}_near::text[])"
    return f"(CASE WHEN right({created_at}, 1) = 'Z' THEN {created_at} >= :{name} ELSE {local} END)"


async def find_bounds(connection: Connection, wanted: TaskFilter, zone: tzinfo) -> TimeBounds:
    """The bounds of a filter's times; local times are read in `zone`."""
    return TimeBounds(
        await _find_bound(connection, wanted.created_after_ms, zone),
        await _find_bound(connection, wanted.created_before_ms, zone),
    )


async def _find_bound(connection: Connection, time_ms: int | None, zone: tzinfo) -> Bound | None:
    if time_ms is None:
        return None
    low = min(spellings_of(time_ms - HOUR_MS, zone))  # an hour, because clocks are set back and forward
    high = max(spellings_of(time_ms + HOUR_MS, zone)) + LAST
    rows = await connection.fetch_all("find_local_times", low=low, high=high)
    near = tuple(row["created_at"] for row in rows if not _is_before(row["created_at"], time_ms, zone))
    return Bound(text_of(time_ms), low, high, near if rows else None)


def _is_before(text: str, time_ms: int, zone: tzinfo) -> bool:
    try:
        return read_time(text, zone) < time_ms
    except (ValueError, OverflowError):
        return False
